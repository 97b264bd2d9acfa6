package banksia

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Typed identifiers. Each is a UUID that travels as a prefix followed by 22
// characters; two kinds never mix by accident because they are different types.
type (
	AssetID      = ID[assetKind]
	VersionID    = ID[versionKind]
	StackID      = ID[stackKind]
	AlbumID      = ID[albumKind]
	AlbumAssetID = ID[albumAssetKind]
	PersonID     = ID[personKind]
	FaceID       = ID[faceKind]
	LibraryID    = ID[libraryKind]
	UserID       = ID[userKind]
	APIKeyID     = ID[apiKeyKind]
	SessionID    = ID[sessionKind]
	GrantID      = ID[grantKind]
	TaskID       = ID[taskKind]
)

type (
	assetKind      struct{}
	versionKind    struct{}
	stackKind      struct{}
	albumKind      struct{}
	albumAssetKind struct{}
	personKind     struct{}
	faceKind       struct{}
	libraryKind    struct{}
	userKind       struct{}
	apiKeyKind     struct{}
	sessionKind    struct{}
	grantKind      struct{}
	taskKind       struct{}
)

func (assetKind) prefix() string      { return "asset_" }
func (versionKind) prefix() string    { return "asset_version_" }
func (stackKind) prefix() string      { return "asset_stack_" }
func (albumKind) prefix() string      { return "album_" }
func (albumAssetKind) prefix() string { return "album_asset_" }
func (personKind) prefix() string     { return "person_" }
func (faceKind) prefix() string       { return "face_" }
func (libraryKind) prefix() string    { return "lib_" }
func (userKind) prefix() string       { return "intuser_" }
func (apiKeyKind) prefix() string     { return "apikey_" }
func (sessionKind) prefix() string    { return "session_" }
func (grantKind) prefix() string      { return "grant_" }
func (taskKind) prefix() string       { return "btask_" }

// ID is a UUID of one kind of entity. Its zero value is the nil UUID, which no
// stored entity has. The byte order of IDs of one kind is also the order of
// their text form, so keyset cursors agree on both sides.
type ID[K interface{ prefix() string }] [16]byte

// idAlphabet and idTextLength are those of the Python library shortuuid 1.0 and
// newer: base 57, most significant digit first, padded with the zero digit.
const (
	idAlphabet   = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	idTextLength = 22
)

// anyID is any of the identifier types above.
type anyID interface {
	~[16]byte
	Prefix() string
}

// NewID returns a fresh version 7 UUID (RFC 9562), so that rows created
// together lie together in an index: NewID[AssetID](time.Now()).
func NewID[T anyID](now time.Time) T {
	var id [16]byte
	rand.Read(id[6:]) // never fails, says crypto/rand
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return T(id)
}

// ParseID reads the text form: ParseID[AssetID]("asset_..."). It fails on another
// prefix, another length, a character outside the alphabet, and a value over 128
// bits.
func ParseID[T anyID](text string) (T, error) {
	var none T
	tail, ok := strings.CutPrefix(text, none.Prefix())
	if !ok || len(tail) != idTextLength {
		return none, fmt.Errorf("not an ID of the form %s followed by %d characters", none.Prefix(), idTextLength)
	}
	var hi, lo uint64
	for i := 0; i < len(tail); i++ {
		digit := strings.IndexByte(idAlphabet, tail[i])
		if digit < 0 {
			return none, fmt.Errorf("an ID cannot hold the character %q", tail[i])
		}
		carry, low := bits.Mul64(lo, 57)
		low, c := bits.Add64(low, uint64(digit), 0)
		over, high := bits.Mul64(hi, 57)
		high, c = bits.Add64(high, carry, c)
		if over != 0 || c != 0 {
			return none, fmt.Errorf("the ID is larger than 128 bits")
		}
		hi, lo = high, low
	}
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return T(id), nil
}

// Prefix is what the text form of this kind begins with.
func (id ID[K]) Prefix() string {
	var kind K
	return kind.prefix()
}

// String returns the text form, such as asset_BM3nUmJ6fkBqBADyz5FEiu.
func (id ID[K]) String() string {
	var text [idTextLength]byte
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	for i := idTextLength - 1; i >= 0; i-- {
		var rest uint64
		hi, rest = hi/57, hi%57
		lo, rest = bits.Div64(rest, lo, 57)
		text[i] = idAlphabet[rest]
	}
	return id.Prefix() + string(text[:])
}

// IsZero tells whether the ID is unset.
func (id ID[K]) IsZero() bool { return id == ID[K]{} }

// MarshalText and UnmarshalText carry the text form through JSON.
func (id ID[K]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *ID[K]) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID[ID[K]](string(text))
	return err
}

// Value and Scan store an ID as its 16 bytes.
func (id ID[K]) Value() (driver.Value, error) { return id[:], nil }

func (id *ID[K]) Scan(value any) error {
	raw, ok := value.([]byte)
	if !ok || len(raw) != len(id) {
		return fmt.Errorf("a stored ID has 16 bytes, got %T", value)
	}
	copy(id[:], raw)
	return nil
}
