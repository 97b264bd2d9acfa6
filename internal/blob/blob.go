// Package blob keeps the bytes of a library: originals under the address of
// their content, and derived files under their version and variant.
//
// A Store promises that a key either names the whole of what was put there or
// does not exist, also after a crash or a power cut at any moment.
package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// Sentinels of this package, for errors.Is.
var (
	// ErrNotExist says that nothing is stored under a key.
	ErrNotExist = errors.New("no such blob")
	// ErrFull says that the storage has no room left.
	ErrFull = errors.New("the storage is full")
	// ErrUnavailable says that the storage failed for now.
	ErrUnavailable = errors.New("the storage is unavailable")
	// ErrDamaged says that bytes are not those that their key names.
	ErrDamaged = errors.New("the bytes are damaged")
)

// Key names a blob: slash-separated parts of letters, digits, '.', '_' and '-'.
type Key string

// Original is the key of uploaded bytes: their SHA-256 in hexadecimal, in 256
// folders. At a million assets a folder holds four thousand files, which file
// systems find by index; more folders would each have to be made and made
// durable during uploads.
func Original(sha256 banksia.Digest) Key {
	name := hex.EncodeToString(sha256)
	return Key("originals/" + name[:2] + "/" + name)
}

// OriginalDigest reads the checksum out of the key of an original.
func OriginalDigest(key Key) (sha256 banksia.Digest, ok bool) {
	name := path.Base(string(key))
	sum, err := hex.DecodeString(name)
	return sum, err == nil && len(sum) == 32 && Original(sum) == key
}

// Derived is the key of a variant drawn from a version. Its folder is named by
// the last characters of the ID, which are random, where the first ones follow
// the time.
func Derived(version banksia.VersionID, variant banksia.VariantName) Key {
	name := hex.EncodeToString(version[:])
	return Key("derived/" + name[30:] + "/" + name + "." + string(variant))
}

// maxKey bounds a key: file systems take names of 255 bytes and paths of 4096, S3
// takes 1024 with the prefix.
const maxKey = 255

// CheckKey refuses what is no key: what could leave the place of the blobs, or
// reach the files and notes below tmp that are no blobs.
func CheckKey(key Key) error {
	text := string(key)
	valid := fs.ValidPath(text) && text != "." && text != "tmp" && !strings.HasPrefix(text, "tmp/") && len(text) <= maxKey
	for _, c := range []byte(text) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-/", c) >= 0)
	}
	if !valid {
		return fmt.Errorf("%q is not a blob key", key)
	}
	return nil
}

// Note says that an original is about to be stored whose row is not yet committed.
type Note struct {
	SHA256 banksia.Digest
	Name   string // the store's own
}

// Info is what is known of a stored blob.
type Info struct {
	Key     Key
	Size    int64
	ModTime time.Time
}

// Reader reads a stored blob from anywhere in it.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Store is one place that keeps blobs. Its methods may be called concurrently.
type Store interface {
	// Put stores what the reader gives under the key, replacing what was there.
	// When it returns nil the bytes are durable; otherwise the key is as before or,
	// with ErrUnavailable, may hold the whole of the new bytes: the answer can get
	// lost. The bytes of an original are compared with its key where they travel;
	// ErrDamaged when they differ.
	Put(ctx context.Context, key Key, content io.Reader) error
	// Adopt stores a local file, made by Receive or by a decoder inside the
	// store's temporary folder, and removes it from there. Like Put otherwise.
	Adopt(ctx context.Context, key Key, path string) error
	// Open reads a blob; ErrNotExist when there is none.
	Open(ctx context.Context, key Key) (Reader, Info, error)
	// Fetch gives a local file with the content of the blob, for programs that
	// read files. The caller does not change it and calls release when done. Where
	// it is a copy, that of an original has been compared with its key; ErrDamaged
	// when they differ.
	Fetch(ctx context.Context, key Key) (path string, release func(), err error)
	// Stat tells size and time of a blob; ErrNotExist when there is none.
	Stat(ctx context.Context, key Key) (Info, error)
	// Delete removes a blob, durably; a missing one is no error.
	Delete(ctx context.Context, key Key) error
	// List calls f for every blob whose key begins with the prefix, in no
	// particular order, until f fails.
	List(ctx context.Context, prefix Key, f func(Info) error) error
	// MarkPending notes that an original is about to be stored whose row is not yet
	// committed; Settle takes the note back, and does nothing the second time. What
	// is noted after a crash has to be compared with the database. Without the notes,
	// that would take a walk over every blob.
	MarkPending(ctx context.Context, sha256 banksia.Digest) (Note, error)
	Settle(ctx context.Context, note Note) error
	// Pending lists the notes that were made before a time, and, where other
	// processes use the same storage, so long ago that they have given up.
	Pending(ctx context.Context, before time.Time) ([]Note, error)
	// Sweep removes, by the same measure, what unfinished Puts have left in the
	// storage. SweepTemp does that for the temporary folder.
	Sweep(ctx context.Context, before time.Time) (removed int, err error)
	// TempDir is a local folder for files on their way into the store.
	TempDir() string
}

// Presigner is a Store that can give others a URL for one blob; see Presign.
type Presigner interface {
	Presign(ctx context.Context, key Key, options PresignOptions) (url string, err error)
}

// Presign gives others a URL for one blob, or "" where the store has none to give.
func Presign(ctx context.Context, s Store, key Key, options PresignOptions) (url string, err error) {
	if presigner, ok := s.(Presigner); ok {
		return presigner.Presign(ctx, key, options)
	}
	return "", nil
}

// PresignOptions say how long a URL is good for, and headers of its answers.
type PresignOptions struct {
	Expiry             time.Duration
	ContentType        string
	ContentDisposition string
	CacheControl       string
}

// ForClients turns a failure of the storage into what clients are told; other
// errors are returned as they are.
func ForClients(err error) error {
	switch {
	case errors.Is(err, ErrFull):
		return &banksia.Error{Code: banksia.CodeInsufficientStorage, Message: "The storage of the server is full.", Retry: banksia.FullRetry, Final: true, Err: err}
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrDamaged):
		return &banksia.Error{Code: banksia.CodeStorage, Message: "The storage of the server failed for now.", Retry: 10 * time.Second, Err: err}
	}
	return err
}
