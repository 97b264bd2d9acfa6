package api

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Document is the OpenAPI document, which is also the contract's.
//
//go:embed openapi.yaml
var Document []byte

// documentJSON is the document as it is served: with the title and the version
// that the contract's own has (behaviour 2.15), for the server it came from.
func documentJSON() ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(Document, &document); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	document["info"] = map[string]any{"title": "Gumnut API", "version": "0.1.0"}
	document["servers"] = []any{map[string]any{"url": "/"}}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return text, nil
}
