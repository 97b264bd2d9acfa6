package clients

import (
	"os"
	"regexp"
	"testing"

	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
)

// docs/compatibility.md has a row for each operation of the document, and no other.
func TestCompatibilityTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\w+) \\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		rows[row[1]] = row[2]
	}
	document, err := spec.Load(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range document.Operations() {
		if rows[o.ID] != o.Method+" "+o.Path {
			t.Errorf("the row of %s says %q", o.ID, rows[o.ID])
		}
		delete(rows, o.ID)
	}
	for id := range rows {
		t.Errorf("%s is no operation", id)
	}
}
