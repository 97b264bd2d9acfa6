package importer

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	open := func(server, library string) *journal {
		j, err := openJournal(dir, server, library)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { j.Close() })
		return j
	}
	at := time.Unix(1, 5)
	paths := []string{"/a", "/b\nnew\"line", "/bad\xff.jpg", "/bad\xfe.jpg", "/" + strings.Repeat("long", 3000)}
	first := open("http://x/", "")
	for i, path := range paths {
		if err := first.append(&item{key: path, size: int64(i), modified: at, checksum: digest{byte(i)}}, fmt.Sprint("mark ", i)); err != nil {
			t.Fatal(err)
		}
	}
	// The file changed, and later it was seen once more as it had been at first.
	for _, size := range []int64{100, 0} {
		if err := first.append(&item{key: "/a", size: size, modified: at}, ""); err != nil {
			t.Fatal(err)
		}
	}
	second := open("http://x", "")
	for i, path := range paths {
		e, ok := second.lookup(path, int64(i), at)
		if !ok || (path != "/a") != (e.Sidecars == fmt.Sprint("mark ", i) && e.SHA256 == digest{byte(i)}) {
			t.Errorf("%.20q is remembered as %+v, %t", path, e, ok)
		}
		if e, ok := second.lookup(path, int64(i)+1, at); ok {
			t.Errorf("%.20q of another size is remembered as %+v", path, e)
		}
		if e, ok := second.lookup(path, int64(i), at.Add(1)); ok {
			t.Errorf("%.20q of another time is remembered as %+v", path, e)
		}
	}
	if e, ok := second.lookup("/a", 100, at); ok {
		t.Errorf("an older line counts: %+v", e)
	}
	for _, other := range []*journal{open("http://y", ""), open("http://x", "lib_1")} {
		if e, ok := other.lookup("/a", 0, at); ok {
			t.Errorf("another library remembers %+v", e)
		}
	}
}

// FuzzJournal opens journals of any content: they are read without failing, and
// a line appended to them is found again.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"path":"/a","size":1,"modified":2,"sha256":"` + strings.Repeat("ab", 32) + `"}` + "\n"))
	f.Add([]byte(`{"path":"/a","size":1,"modi`))
	f.Add(bytes.Repeat([]byte("x"), maxJournalLine+10))
	f.Add([]byte("\n\n{}\nnull\n[]\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		j, err := openJournal(dir, "s", "")
		if err != nil {
			t.Fatal(err)
		}
		name := j.file.Name()
		j.Close()
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		it := &item{key: "/new", size: 3, modified: time.Unix(4, 0), checksum: digest{5}}
		if j, err = openJournal(dir, "s", ""); err != nil {
			t.Fatal(err)
		}
		if err := j.append(it, "mark"); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if j, err = openJournal(dir, "s", ""); err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if e, ok := j.lookup("/new", 3, it.modified); !ok || e.SHA256 != it.checksum || e.Sidecars != "mark" {
			t.Errorf("the line is found as %+v, %t", e, ok)
		}
	})
}
