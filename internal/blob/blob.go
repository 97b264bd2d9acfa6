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
	"io"
	"path"
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
	// When it returns nil the bytes are durable; otherwise the key is as before.
	Put(ctx context.Context, key Key, content io.Reader) error
	// Adopt stores a local file, made by Receive or by a decoder inside the
	// store's temporary folder, and removes it from there. Like Put otherwise.
	Adopt(ctx context.Context, key Key, path string) error
	// Open reads a blob; ErrNotExist when there is none.
	Open(ctx context.Context, key Key) (Reader, Info, error)
	// Fetch gives a local file with the content of the blob, for programs that
	// read files. The caller does not change it and calls release when done.
	Fetch(ctx context.Context, key Key) (path string, release func(), err error)
	// Stat tells size and time of a blob; ErrNotExist when there is none.
	Stat(ctx context.Context, key Key) (Info, error)
	// Delete removes a blob; a missing one is no error.
	Delete(ctx context.Context, key Key) error
	// List calls f for every blob whose key begins with the prefix, in no
	// particular order, until f fails.
	List(ctx context.Context, prefix Key, f func(Info) error) error
	// TempDir is a local folder for files on their way into the store.
	TempDir() string
}
