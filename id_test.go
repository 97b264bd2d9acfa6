package banksia

import (
	"encoding/hex"
	"sort"
	"strings"
	"testing"
	"time"
)

// behaviour 1.3: the adapter's and the computed vectors.
func TestIDVectors(t *testing.T) {
	for uuid, tail := range map[string]string{
		"3475f5d0-108e-41e8-a7ed-860bd7040e13": "BM3nUmJ6fkBqBADyz5FEiu",
		"550e8400-e29b-41d4-a716-446655440000": "H9cNmGXLEc8NWcZzSThA9S",
		"12345678-1234-5678-1234-567812345678": "5FdNqEYASQvT6ZhBtUuVoV",
		"00000000-0000-0000-0000-000000000000": "2222222222222222222222",
		"ffffffff-ffff-ffff-ffff-ffffffffffff": "oZEq7ovRbLq6UnGMPwc8B5",
	} {
		var want AssetID
		if _, err := hex.Decode(want[:], []byte(strings.ReplaceAll(uuid, "-", ""))); err != nil {
			t.Fatal(err)
		}
		if got := want.String(); got != "asset_"+tail {
			t.Errorf("%s is written %s, want asset_%s", uuid, got, tail)
		}
		if got, err := ParseID[AssetID]("asset_" + tail); err != nil || got != want {
			t.Errorf("%s is read as %x, %v", tail, got, err)
		}
	}
}

// behaviour 1.3 and 1.5: larger values, other prefixes and other lengths fail.
func TestParseIDRejects(t *testing.T) {
	for _, text := range []string{
		"", "asset_", "BM3nUmJ6fkBqBADyz5FEiu", "album_BM3nUmJ6fkBqBADyz5FEiu",
		"asset_version_BM3nUmJ6fkBqBADyz5FEiu", "asset_oZEq7ovRbLq6UnGMPwc8B6",
		"asset_zzzzzzzzzzzzzzzzzzzzzz", "asset_BM3nUmJ6fkBqBADyz5FEi", "asset_BM3nUmJ6fkBqBADyz5FEiuu",
		"asset_BM3nUmJ6fkBqBADyz5FEi0", "asset_BM3nUmJ6fkBqBADyz5FE\x00u", "ASSET_BM3nUmJ6fkBqBADyz5FEiu",
	} {
		if id, err := ParseID[AssetID](text); err == nil {
			t.Errorf("%q was read as %x", text, id)
		}
	}
}

func TestIDTextOrderIsByteOrder(t *testing.T) {
	ids := make([]AssetID, 500)
	for i := range ids {
		ids[i] = NewID[AssetID](time.UnixMilli(int64(i%7) * 1e11))
	}
	sort.Slice(ids, func(i, j int) bool { return string(ids[i][:]) < string(ids[j][:]) })
	for i := 1; i < len(ids); i++ {
		if ids[i-1].String() >= ids[i].String() {
			t.Fatalf("%s sorts before %s as bytes, not as text", ids[i-1], ids[i])
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("asset_BM3nUmJ6fkBqBADyz5FEiu")
	f.Add("asset_oZEq7ovRbLq6UnGMPwc8B5")
	f.Add("asset_zzzzzzzzzzzzzzzzzzzzzz")
	f.Add("asset_version_2222222222222222222222")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID[AssetID](text)
		if err == nil && id.String() != text {
			t.Errorf("%q was read as %s", text, id)
		}
	})
}
