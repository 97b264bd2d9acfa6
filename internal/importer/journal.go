package importer

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// journal remembers what files were when they were imported, as JSON lines that
// are only ever appended. It is a cache: the server is still asked, and without
// it everything is merely read again.
//
// In memory it holds 16 bytes a line; the lines themselves stay in the file.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	seed  maphash.Seed
	index []journalRef // of the lines at the start, sorted; of equal files the last counts
}

type journalRef struct {
	hash   uint64 // of the path
	offset int64
}

// journalEntry is one line.
type journalEntry struct {
	Path     string `json:"path,omitempty"`
	RawPath  []byte `json:"raw_path,omitempty"` // of a path that is not UTF-8, which JSON cannot carry
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
	SHA256   digest `json:"-"`
	Hex      string `json:"sha256"`
	Sidecars string `json:"sidecars,omitempty"` // the mark of those that are settled
}

// maxJournalLine bounds a line: paths have at most some thousand bytes.
const maxJournalLine = 1 << 20

// openJournal opens the journal of a library of a server.
func openJournal(dir, server, library string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the import journal: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.TrimRight(server, "/") + "\x00" + library))
	name := filepath.Join(dir, hex.EncodeToString(sum[:16])+".jsonl")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the import journal: %w", err)
	}
	j := &journal{file: f, seed: maphash.MakeSeed()}
	if err := j.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read the import journal %s: %w", name, err)
	}
	return j, nil
}

func (j *journal) load() error {
	r := bufio.NewReaderSize(j.file, 1<<20)
	var offset int64
	for {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return err
		}
		if len(line.text) > 0 {
			if e, ok := parseJournal(line.text); ok {
				j.index = append(j.index, journalRef{maphash.String(j.seed, e.path()), offset})
			}
		}
		offset += line.length
		if err == io.EOF {
			if line.length > 0 {
				// The last line was torn; the next one must not continue it.
				if _, err := j.file.WriteString("\n"); err != nil {
					return err
				}
			}
			break
		}
	}
	slices.SortFunc(j.index, func(a, b journalRef) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.offset, b.offset))
	})
	return nil
}

type journalLine struct {
	text   []byte // valid until the next read; empty if it is too long
	length int64
}

// readLine reads up to and with the next newline. At io.EOF the line has none.
func readLine(r *bufio.Reader) (line journalLine, err error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		line.length += int64(len(part))
		if err == bufio.ErrBufferFull {
			if line.length <= maxJournalLine {
				long = append(long, part...)
			}
			continue
		}
		switch {
		case line.length > maxJournalLine:
		case long != nil:
			line.text = append(long, part...)
		default:
			line.text = part
		}
		return line, err
	}
}

func parseJournal(text []byte) (e journalEntry, ok bool) {
	if json.Unmarshal(text, &e) != nil {
		return journalEntry{}, false
	}
	sum, err := hex.DecodeString(e.Hex)
	if err != nil || len(sum) != sha256.Size || e.path() == "" {
		return journalEntry{}, false
	}
	e.SHA256 = digest(sum)
	return e, true
}

func (e journalEntry) path() string { return cmp.Or(e.Path, string(e.RawPath)) }

// lookup returns what an earlier run wrote of a file that is still the same.
func (j *journal) lookup(path string, size int64, modified time.Time) (journalEntry, bool) {
	hash := maphash.String(j.seed, path)
	at, _ := slices.BinarySearchFunc(j.index, hash+1, func(r journalRef, h uint64) int { return cmp.Compare(r.hash, h) })
	if hash+1 == 0 {
		at = len(j.index)
	}
	for at--; at >= 0 && j.index[at].hash == hash; at-- {
		e, ok := j.entry(j.index[at].offset)
		if ok && e.path() == path {
			// An older line of the path describes a file that is no more.
			return e, e.Size == size && e.Modified == modified.UnixNano()
		}
	}
	return journalEntry{}, false
}

func (j *journal) entry(offset int64) (journalEntry, bool) {
	line, err := readLine(bufio.NewReaderSize(io.NewSectionReader(j.file, offset, maxJournalLine), 512))
	if err != nil && err != io.EOF {
		return journalEntry{}, false
	}
	return parseJournal(line.text)
}

// append remembers a file that the server has. The line is written at once and
// whole, so that whatever ends the program loses at most the last one.
func (j *journal) append(it *item, sidecars string) error {
	e := journalEntry{Size: it.size, Modified: it.modified.UnixNano(), Hex: hex.EncodeToString(it.checksum[:]), Sidecars: sidecars}
	if utf8.ValidString(it.key) {
		e.Path = it.key
	} else {
		e.RawPath = []byte(it.key)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the import journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the import journal: %w", err)
	}
	return nil
}

func (j *journal) Close() error { return j.file.Close() }
