package importer

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// zipEntry is one file of an archive made for a test; the fields after content
// let it lie.
type zipEntry struct {
	name, content string
	method        uint16
	flags         uint16
	claimedSize   uint64 // 0: the true one
	claimedCRC    uint32 // 0: the true one
	modified      time.Time
	extended      bool // give modified as an instant, not only as a wall clock
}

func writeZip(t testing.TB, at string, entries ...zipEntry) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		var packed bytes.Buffer
		packed.WriteString(e.content)
		if e.method == zip.Deflate {
			packed.Reset()
			fw, err := flate.NewWriter(&packed, flate.DefaultCompression)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(fw, e.content)
			fw.Close()
		}
		header := &zip.FileHeader{Name: e.name, Method: e.method, Flags: e.flags}
		if !e.modified.IsZero() {
			// Seconds since 1970 as Info-ZIP writes them, beside a wall clock.
			//lint:ignore SA1019 Modified would add an extra field of its own
			header.SetModTime(e.modified)
			if e.extended {
				header.Extra = binary.LittleEndian.AppendUint32([]byte{'U', 'T', 5, 0, 1}, uint32(e.modified.Unix()))
			}
		}
		header.CRC32 = crc32.ChecksumIEEE([]byte(e.content))
		if e.claimedCRC != 0 {
			header.CRC32 = e.claimedCRC
		}
		header.UncompressedSize64 = uint64(len(e.content))
		if e.claimedSize != 0 {
			header.UncompressedSize64 = e.claimedSize
		}
		header.CompressedSize64 = uint64(packed.Len())
		part, err := w.CreateRaw(header)
		if err != nil {
			t.Fatal(err)
		}
		part.Write(packed.Bytes())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestImportArchive(t *testing.T) {
	s := newContractServer(t)
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", wholeFileLimit/16) + "!"
	at := time.Date(2019, 3, 4, 5, 6, 8, 0, time.UTC)
	archive := writeZip(t, filepath.Join(dir, "photos.zip"),
		zipEntry{name: "a.jpg", content: "a", modified: at, extended: true},
		zipEntry{name: "sub/b.png", content: strings.Repeat("b", 1000), method: zip.Deflate},
		zipEntry{name: "sub/wall.jpg", content: "wall", modified: at},
		zipEntry{name: "sub/big.mp4", content: big, method: zip.Store},
		zipEntry{name: "sub/notes.txt", content: "n"},
		zipEntry{name: "__MACOSX/._a.jpg", content: "resource"},
		zipEntry{name: "sub/.DS_Store", content: "x"},
		zipEntry{name: "inner.zip", content: "PK"},
	)
	state := t.TempDir()
	first := newRun(t, s, state, dir)
	if got := countsOf(first.mustDo(t)); got != (counts{imported: 4, unsupported: 2}) {
		t.Errorf("the counts are %+v\n%s", got, first.out.String())
	}
	if a := s.asset("a"); a.Name != "a.jpg" || a.DeviceAssetID != "photos.zip/a.jpg" || a.Created != "2019-03-04T07:06:08+02:00" {
		t.Errorf("the entry became %+v", a)
	}
	if a := s.asset("wall"); a.Created != "2019-03-04T05:06:08+02:00" {
		t.Errorf("the entry with a wall clock was made at %s", a.Created)
	}
	s.asset(strings.Repeat("b", 1000))
	s.asset(big)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside the archive lie %v, %v", left, err)
	}

	second := newRun(t, s, state, archive)
	if got := countsOf(second.mustDo(t)); got != (counts{duplicates: 4, recalled: 4, unsupported: 2}) {
		t.Errorf("the second run counts %+v", got)
	}
}

func TestHostileEntryNames(t *testing.T) {
	s := newContractServer(t)
	dir := t.TempDir()
	writeZip(t, filepath.Join(dir, "in", "x.zip"),
		zipEntry{name: "../../up.jpg", content: "1"},
		zipEntry{name: "/etc/root.jpg", content: "2"},
		zipEntry{name: `..\..\windows.jpg`, content: "3"},
		zipEntry{name: "new\nline\"quote\x00.jpg", content: "4"},
		zipEntry{name: "bad\xff\xfe.jpg", content: "5"},
		zipEntry{name: "a/./../b/" + strings.Repeat("long/", 2000) + "deep.jpg", content: "6"},
		zipEntry{name: "..", content: "7"},
		zipEntry{name: strings.Repeat("x", 10_000) + ".jpg", content: "8"},
	)
	r := newRun(t, s, t.TempDir(), filepath.Join(dir, "in"))
	summary := r.mustDo(t)
	// The server says no to a name over 1024 characters (behaviour 6.3); the
	// stand-in does not, so the long one arrives.
	if got := countsOf(summary); got != (counts{imported: 7}) {
		t.Errorf("the counts are %+v\n%.2000s", got, r.out.String())
	}
	for content, name := range map[string]string{"1": "up.jpg", "2": "root.jpg", "3": "windows.jpg", "4": `new_line"quote_.jpg`, "5": "bad�.jpg", "6": "deep.jpg"} {
		a := s.asset(content)
		if a.Name != name || strings.Contains(a.DeviceAssetID, "..") || len([]rune(a.DeviceAssetID)) > maxUploadText {
			t.Errorf("the entry %s is called %q at %.80q, want %q", content, a.Name, a.DeviceAssetID, name)
		}
	}
	entries, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || !slices.Equal(entries, []string{filepath.Join(dir, "in")}) {
		t.Errorf("the folder above holds %v, %v", entries, err)
	}
}

func TestHostileArchives(t *testing.T) {
	zeros := strings.Repeat("\x00", bombSize+1)
	for _, row := range []struct {
		name    string
		entries []zipEntry
		damage  func([]byte) []byte
		want    string // the reason of the only failure
		others  int64  // files that are imported all the same
	}{
		{"bomb", []zipEntry{{name: "bomb.bmp", content: zeros, method: zip.Deflate}, {name: "a.jpg", content: "a"}}, nil, "as in a zip bomb", 1},
		{"longer than declared", []zipEntry{{name: "a.jpg", content: strings.Repeat("a", 500), method: zip.Deflate, claimedSize: 100}}, nil, "longer than the archive says", 0},
		{"shorter than declared", []zipEntry{{name: "a.jpg", content: "aaa", method: zip.Deflate, claimedSize: 100}}, nil, "shorter than the archive says", 0},
		{"streamed and shorter", []zipEntry{{name: "a.mp4", content: "aaa", method: zip.Deflate, claimedSize: wholeFileLimit + 1}}, nil, "shorter than the archive says", 0},
		{"impossible size", []zipEntry{{name: "a.mp4", content: "aaa", claimedSize: 1<<64 - 2}}, nil, "impossible size", 0},
		{"wrong checksum", []zipEntry{{name: "a.jpg", content: "aaa", claimedCRC: 7}}, nil, "the archive is damaged", 0},
		{"encrypted", []zipEntry{{name: "a.jpg", content: "aaa", flags: 1}}, nil, "encrypted", 0},
		{"odd method", []zipEntry{{name: "a.jpg", content: "aaa", method: 99}}, nil, "method 99", 0},
		{"broken deflate", []zipEntry{{name: "a.jpg", content: strings.Repeat("abc", 99), method: zip.Deflate}}, func(b []byte) []byte {
			at := bytes.Index(b, []byte("a.jpg")) + len("a.jpg")
			b[at] = 0xff // a block type that does not exist
			return b
		}, "unpack: flate", 0},
		{"no archive", nil, func([]byte) []byte { return []byte("not a zip") }, "no zip archive", 0},
		{"empty file", nil, func([]byte) []byte { return nil }, "no zip archive", 0},
		{"cut off", []zipEntry{{name: "a.jpg", content: "aaa"}}, func(b []byte) []byte { return b[:len(b)-10] }, "no zip archive", 0},
		{"overlapping entries", []zipEntry{{name: "a.jpg", content: strings.Repeat("a", 2000)}, {name: "b.jpg", content: "b"}}, func(b []byte) []byte {
			// The directory says that b.jpg is as long as a.jpg (Fifield 2019).
			at := bytes.LastIndex(b, []byte("PK\x01\x02"))
			binary.LittleEndian.PutUint32(b[at+20:], 2000)
			return b
		}, "entries overlap", 0},
		{"claims millions of entries", []zipEntry{{name: "a.jpg", content: "a"}}, func(b []byte) []byte {
			end := b[len(b)-22:]
			end64 := make([]byte, 56+20)
			copy(end64, "PK\x06\x06")
			binary.LittleEndian.PutUint64(end64[4:], 44)
			binary.LittleEndian.PutUint64(end64[24:], 1<<40)
			binary.LittleEndian.PutUint64(end64[32:], 1<<40)
			copy(end64[56:], "PK\x06\x07")
			binary.LittleEndian.PutUint64(end64[64:], uint64(len(b)-22))
			binary.LittleEndian.PutUint16(end[10:], 0xffff)
			return slices.Concat(b[:len(b)-22], end64, end)
		}, "claims 1099511627776 entries", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			at := writeZip(t, filepath.Join(t.TempDir(), "x.zip"), row.entries...)
			if row.damage != nil {
				b, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, row.damage(b), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := newContractServer(t)
			summary := newRun(t, s, t.TempDir(), at).mustDo(t)
			if summary.Failed != 1 || summary.Imported != row.others || !strings.Contains(summary.Failures[0].Reason, row.want) {
				t.Errorf("want the failure %q and %d imported, got %+v", row.want, row.others, summary)
			}
			if int64(len(s.names())) != row.others {
				t.Errorf("the server has %v", s.names())
			}
		})
	}
}

// FuzzArchive feeds whole archives to the reader: whatever they say, each entry
// ends in content of the declared size and checksum or in an error.
func FuzzArchive(f *testing.F) {
	at := writeZip(f, filepath.Join(f.TempDir(), "seed.zip"),
		zipEntry{name: "a.jpg", content: "aaaa", method: zip.Deflate}, zipEntry{name: "../b.jpg", content: "b"}, zipEntry{name: "b.jpg.json", content: "{}"})
	seed, err := os.ReadFile(at)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-3])
	f.Add(bytes.ReplaceAll(seed, []byte{4, 0, 0, 0}, []byte{255, 255, 255, 127}))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		at := filepath.Join(dir, "x.zip")
		if err := os.WriteFile(at, content, 0o644); err != nil {
			t.Fatal(err)
		}
		w := &walker{ctx: context.Background(), openFile: os.Open, location: time.UTC}
		w.unsupported, w.link = func(string) {}, func() {}
		w.failed = func(label string, err error) {
			if err == nil || strings.ContainsAny(label, "\x00\n\x1b") {
				t.Errorf("%q failed with %v", label, err)
			}
		}
		w.media = func(it *item) error {
			it.findSidecars()
			it.readSidecars(time.UTC)
			if strings.Contains("/"+it.place+"/", "/../") {
				t.Errorf("the place is %q", it.place)
			}
			r, err := it.open()
			if err != nil {
				return nil
			}
			defer r.Close()
			sum := crc32.NewIEEE()
			n, err := io.Copy(sum, io.LimitReader(r, 1<<20))
			if err == nil && n < 1<<20 && (n != it.size || !strings.HasSuffix(it.key, fmt.Sprintf("#%08x", sum.Sum32()))) {
				t.Errorf("%s gives %d bytes with checksum %08x, declared are %d", it.key, n, sum.Sum32(), it.size)
			}
			return nil
		}
		if err := w.walk([]string{at}); err != nil {
			t.Errorf("the walk ends with %v", err)
		}
	})
}
