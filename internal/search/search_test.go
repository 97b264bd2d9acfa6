package search

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
)

func TestDocument(t *testing.T) {
	for text, want := range map[string]string{
		"IMG_0042.JPG":        "img 0042 jpg",
		"MyHolidayPhoto":      "my holiday photo myholidayphoto",
		"iPhone12":            "i phone 12 iphone12",
		"Canon EOS 5D":        "canon eos 5 d 5d",
		"Größe, São Paulo":    "große sao paulo",
		"ÅNGSTRÖM ﬁx Ⅷ":       "angstrom fix viii",
		"東京タワー 2020":          "東 京 タ ワ ー 2020",
		"x\x00y\xffz":         "x y z",
		"'); DROP TABLE \"a*": "drop table a",
		"":                    "",
		"… — ☃ 🎉":             "",
	} {
		if got := Document(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	if got := Document(strings.Repeat("word ", 100_000)); len(strings.Fields(got)) != maxDocument {
		t.Errorf("%d words", len(strings.Fields(got)))
	}
	if got := Document(strings.Repeat("é", 1000)); len(got) > maxWord || !utf8.ValidString(got) {
		t.Errorf("a word of %d bytes", len(got))
	}
}

// What somebody types finds the documents that hold it.
func TestTerms(t *testing.T) {
	for query, want := range map[string]string{
		"":               "[]",
		"  !?":           "[]",
		"beach":          "[{[beach] true}]",
		"beach ":         "[{[beach] false}]",
		"a 42":           "[{[a] false} {[42] false}]",
		"IMG_0042":       "[{[img] false} {[0042] false}]",
		"Beach beach":    "[{[beach] true}]",
		"東京 tower":       "[{[東 京] false} {[tower] true}]",
		`" OR 1=1 * -- `: "[{[or] false} {[1] false}]",
	} {
		if got := fmt.Sprint(Terms(query)); got != want {
			t.Errorf("%q: %s, not %s", query, got, want)
		}
	}
	if got := len(Terms(strings.Repeat("a1 b2 c3 d4 ", 3000) + "x y z w v u t s r q p o n")); got != maxTerms {
		t.Errorf("%d terms", got)
	}
	for _, test := range []struct {
		query, document string
		found           bool
	}{
		{"holi", "MyHolidayPhoto.jpg", true}, {"holi ", "MyHolidayPhoto.jpg", false}, {"myholidayphoto", "MyHolidayPhoto.jpg", true}, {"iphone12", "Apple iPhone 12", true},
		{"京タ", "東京タワー", true}, {"京東", "東京タワー", false}, {"reykjavik", "Reykjavík", true}, {"tower", "東京タワー", false},
	} {
		found := false
		for _, term := range Terms(test.query) {
			found = found || term.In(Document(test.document))
		}
		if found != test.found {
			t.Errorf("%q in %q: %v", test.query, test.document, found)
		}
	}
}

func TestFuse(t *testing.T) {
	id := func(n byte) banksia.AssetID { return banksia.AssetID{n} }
	near, far := 0.1, 0.4
	text := []Hit{{id(1), nil}, {id(2), nil}, {id(3), nil}}
	meaning := []Hit{{id(3), &far}, {id(4), &near}}
	got := Fuse(text, meaning)
	want := []Hit{{id(3), &far}, {id(1), nil}, {id(2), nil}, {id(4), &near}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("fused %v", got)
	}
	if got := Fuse(text); !reflect.DeepEqual(got, text) {
		t.Errorf("one ranking becomes %v", got)
	}
	if got := Fuse(nil, nil); len(got) != 0 {
		t.Errorf("nothing becomes %v", got)
	}
}

func FuzzWords(f *testing.F) {
	f.Add("IMG_0042 東京 é\xff")
	f.Fuzz(func(t *testing.T, text string) {
		document := Document(text)
		for _, term := range Terms(text) {
			if !utf8.ValidString(strings.Join(term.Words, "")) {
				t.Errorf("%q", term.Words)
			}
		}
		if !utf8.ValidString(document) || strings.ContainsAny(document, "\"*'") {
			t.Errorf("%q", document)
		}
	})
}
