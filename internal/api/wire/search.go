package wire

// SearchResult is a page of hits; nothing says whether there are more (behaviour
// 13.1).
type SearchResult struct {
	Data []SearchHit `json:"data"`
}

// SearchHit is an asset that was found, and how far it is in meaning, if that was
// compared.
type SearchHit struct {
	Asset    Asset    `json:"asset"`
	Distance *float64 `json:"distance"`
}
