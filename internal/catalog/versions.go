package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"slices"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

const (
	// MaxVersionBytes bounds the file of a rendering (behaviour 15.3).
	MaxVersionBytes = 100 << 20
	// maxParams bounds the description of how a rendering was made, in bytes.
	maxParams = 64 << 10
)

// VersionRequest is what a client says of a rendering that it sends.
type VersionRequest struct {
	Kind         string
	Params       string // a JSON object
	DeclaredType string // the media type of the part; "": none
}

// kinds are what a rendering may be; the original is the upload's.
var kinds = regexp.MustCompile(`^(edit|external:[A-Za-z0-9._-]{1,64})$`)

func (r *VersionRequest) check() (params []byte, err error) {
	if !kinds.MatchString(r.Kind) {
		return nil, banksia.Invalid("body", "kind", "must be edit, or external: and the name of a service")
	}
	if len(r.Params) > maxParams {
		return nil, banksia.Invalid("body", "params", "has more than %d bytes", maxParams)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(r.Params), &object); err != nil || object == nil {
		return nil, banksia.Invalid("body", "params", "must be a JSON object")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(r.Params)); err != nil {
		return nil, banksia.Invalid("body", "params", "must be a JSON object")
	}
	return compact.Bytes(), nil
}

// ReceiveVersion stores the bytes of a rendering on their way in. The result is
// discarded, or used up by AppendVersion or ReplaceVersion.
func (c *Catalog) ReceiveVersion(ctx context.Context, content io.Reader) (*blob.Incoming, error) {
	in, err := c.Receive(ctx, io.LimitReader(content, MaxVersionBytes+1))
	if err == nil && in.Size > MaxVersionBytes {
		in.Discard()
		return nil, banksia.Invalid("body", "file", "has more than %d MiB", MaxVersionBytes>>20)
	}
	return in, err
}

// AppendVersion makes a file the current rendering of an asset whose original is
// current (behaviour 15.3). The bytes of the original itself add nothing.
func (c *Catalog) AppendVersion(ctx context.Context, scope banksia.Scope, asset banksia.AssetID, in *blob.Incoming, r VersionRequest) (banksia.Version, error) {
	return c.render(ctx, scope, asset, in, r, func(tx *store.Tx, library banksia.LibraryID, chain []banksia.Version, v *banksia.Version) error {
		current := &chain[len(chain)-1]
		if current.Position != 0 {
			return &banksia.Error{Code: banksia.CodeConflict, Message: "The asset has been edited already: replace or delete that version first.", Final: true}
		}
		if bytes.Equal(current.SHA256, v.SHA256) {
			*v = *current
			return nil
		}
		v.Position = current.Position + 1
		return tx.InsertVersion(library, v)
	})
}

// ReplaceVersion puts a file in the place of the current rendering, which is not
// the original (behaviour 15.4). The same bytes keep the version.
func (c *Catalog) ReplaceVersion(ctx context.Context, scope banksia.Scope, asset banksia.AssetID, id banksia.VersionID, in *blob.Incoming, r VersionRequest) (banksia.Version, error) {
	return c.render(ctx, scope, asset, in, r, func(tx *store.Tx, library banksia.LibraryID, chain []banksia.Version, v *banksia.Version) error {
		at, err := currentDerived(chain, id)
		if err != nil {
			return err
		}
		old := chain[at]
		if bytes.Equal(old.SHA256, v.SHA256) {
			old.Kind, old.Params = v.Kind, v.Params
			*v = old
			return tx.SetVersionOrigin(library, v)
		}
		if err := c.dropVersions(tx, scope, library, &chain[at-1], chain[at:]); err != nil {
			return err
		}
		v.Position = old.Position
		return tx.InsertVersion(library, v)
	})
}

// currentDerived finds a version that must be the current one and not the original.
func currentDerived(chain []banksia.Version, id banksia.VersionID) (int, error) {
	at := slices.IndexFunc(chain, func(v banksia.Version) bool { return v.ID == id })
	switch {
	case at < 0:
		return 0, banksia.NotFound("Version")
	case at == 0:
		return 0, banksia.Invalid("path", "version_id", "is the original")
	case at < len(chain)-1:
		return 0, notCurrent()
	}
	return at, nil
}

func notCurrent() error {
	return &banksia.Error{Code: banksia.CodeConflict, Message: "The version is not the current one.", Final: true}
}

// render stores a received file and makes it a version by change, which fills in
// the position, or the version that has these bytes already.
func (c *Catalog) render(ctx context.Context, scope banksia.Scope, id banksia.AssetID, in *blob.Incoming, r VersionRequest, change func(*store.Tx, banksia.LibraryID, []banksia.Version, *banksia.Version) error) (version banksia.Version, err error) {
	defer in.Discard()
	params, err := r.check()
	if err != nil {
		return version, err
	}
	asset, err := c.store.GetAsset(ctx, scope, id)
	if err != nil {
		return version, err
	}
	if asset.MediaType != banksia.Image {
		return version, banksia.Invalid("path", "asset_id", "is not a photo, and only those have renderings")
	}
	made, err := c.describeVersion(ctx, in, r.DeclaredType)
	if err != nil {
		return version, err
	}
	made.AssetID, made.Kind, made.Params = id, r.Kind, params
	defer c.content.lock(in.SHA256)()
	note, removals, err := c.keep(ctx, in)
	if err != nil {
		return version, err
	}
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		version = made
		if err := tx.CheckRemovals(in.SHA256, removals); err != nil {
			return removedError(err)
		}
		chain, err := tx.Versions(scope, id)
		if err != nil {
			return err
		}
		library, err := tx.ResolveLibrary(scope, &asset.LibraryID)
		if err != nil {
			return err
		}
		if err := change(tx, library.ID, chain, &version); err != nil || version.ID != made.ID {
			return err
		}
		if library, err = tx.ResolveLibrary(scope, &asset.LibraryID); err != nil {
			return err
		}
		if err := checkUsed(tx, library); err != nil { // what it replaces is gone by now
			return err
		}
		for _, taskType := range []banksia.TaskType{banksia.TaskDisplayProxy, banksia.TaskThumbHash} {
			err := c.runner.Enqueue(tx, &banksia.Task{UserID: library.UserID, LibraryID: &library.ID, AssetID: &id, Type: taskType})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || version.ID != made.ID {
		c.dropUnreferenced(ctx, note) // unless it is the bytes of another version
		return version, err
	}
	c.settled(ctx, note)
	return version, nil
}

// describeVersion reads what a version needs to know of its file: a JPEG or PNG,
// whatever else was said of it.
func (c *Catalog) describeVersion(ctx context.Context, in *blob.Incoming, declared string) (v banksia.Version, err error) {
	var format media.Format
	for _, mimeType := range []string{"image/jpeg", "image/png"} {
		if f, ok := media.FormatByType(mimeType); ok && f.Sniff(in.Head) {
			format = f
		}
	}
	if format.MIMEType == "" {
		return v, banksia.Invalid("body", "file", "is neither a JPEG nor a PNG")
	}
	if name, _, err := mime.ParseMediaType(declared); err == nil && name != format.MIMEType && name != "application/octet-stream" && name != "image/*" && name != "image/jpg" {
		return v, banksia.Invalid("body", "file", "is declared as %s but is %s", name, format.MIMEType)
	}
	timed, cancel := context.WithTimeout(media.WithPriority(ctx), 30*time.Second)
	defer cancel()
	info, err := c.media.Describe(timed, in.Path, format)
	err = blob.Explain(err)
	switch {
	case errors.Is(err, blob.ErrFull), errors.Is(err, blob.ErrUnavailable):
		return v, blob.ForClients(err)
	case errors.Is(err, media.ErrBusy):
		return v, &banksia.Error{Code: banksia.CodeUnavailable, Message: "The server is busy.", Retry: time.Second, Err: err}
	case err != nil || info.Problem != "" || info.Width <= 0:
		return v, &banksia.Error{Code: banksia.CodeValidation, Message: "The file cannot be read as an image.", Err: errors.Join(err, errors.New(info.Problem)),
			Fields: []banksia.FieldError{{Loc: []string{"body", "file"}, Msg: "cannot be read as an image", Type: "value_error"}}}
	}
	now := c.store.Now()
	return banksia.Version{ID: banksia.NewID[banksia.VersionID](now), MIMEType: format.MIMEType, Width: info.Width, Height: info.Height, SizeBytes: in.Size,
		SHA256: in.SHA256, CreatedAt: now, VariantMIMEType: info.VariantMIMEType, Displayable: info.Displayable}, nil
}

// DeleteVersion deletes the current rendering; the one before becomes current.
// expected is the version that the client takes for the current one; nil: it does
// not say.
func (c *Catalog) DeleteVersion(ctx context.Context, scope banksia.Scope, asset banksia.AssetID, id banksia.VersionID, expected *banksia.VersionID) error {
	return c.changeVersions(ctx, scope, asset, expected, func(chain []banksia.Version) (int, error) {
		at, err := currentDerived(chain, id)
		return at - 1, err
	})
}

// RevertVersion makes an older rendering the current one and deletes all later
// ones; of the current one it changes nothing.
func (c *Catalog) RevertVersion(ctx context.Context, scope banksia.Scope, asset banksia.AssetID, id banksia.VersionID, expected *banksia.VersionID) error {
	return c.changeVersions(ctx, scope, asset, expected, func(chain []banksia.Version) (int, error) {
		at := slices.IndexFunc(chain, func(v banksia.Version) bool { return v.ID == id })
		if at < 0 {
			return 0, banksia.NotFound("Version")
		}
		return at, nil
	})
}

// changeVersions makes the version current that choose picks.
func (c *Catalog) changeVersions(ctx context.Context, scope banksia.Scope, id banksia.AssetID, expected *banksia.VersionID, choose func([]banksia.Version) (int, error)) error {
	asset, err := c.store.GetAsset(ctx, scope, id)
	if err != nil {
		return err
	}
	return c.change(ctx, scope, asset.LibraryID, func(tx *store.Tx) error {
		chain, err := tx.Versions(scope, id)
		if err != nil {
			return err
		}
		at, err := choose(chain)
		if err != nil {
			return err
		}
		if expected != nil && chain[len(chain)-1].ID != *expected {
			return notCurrent()
		}
		if at == len(chain)-1 {
			return nil
		}
		return c.dropVersions(tx, scope, asset.LibraryID, &chain[at], chain[at+1:])
	})
}

// dropVersions deletes the later versions of an asset and enqueues the removal of
// their files.
func (c *Catalog) dropVersions(tx *store.Tx, scope banksia.Scope, library banksia.LibraryID, current *banksia.Version, later []banksia.Version) error {
	freed, err := tx.DeleteVersions(library, current, later)
	if err != nil {
		return err
	}
	var files []freedFiles
	for _, f := range freed {
		files = append(files, freedFiles{f.VersionID, hex.EncodeToString(f.SHA256)})
	}
	payload, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("delete versions: %w", err)
	}
	// It names no asset: there may be several at once.
	return c.runner.EnqueueWith(tx, &banksia.Task{UserID: scope.UserID, LibraryID: &library, Type: banksia.TaskVersionCleanup}, string(payload))
}
