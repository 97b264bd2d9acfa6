package api

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/catalog"
)

// variants reads an include parameter whose only value is variants.
func (p *params) variants() bool {
	values, _ := p.list("include")
	for _, value := range values {
		if value != "variants" {
			p.bad("include", "unknown value; known is variants")
		}
	}
	return len(values) > 0
}

// listVersions is GET /api/assets/{asset_id}/versions: a bare array.
func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	all := p.variants()
	if err := p.err(); err != nil {
		return err
	}
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	versions, err := s.store.ListVersions(r.Context(), scope, asset.ID)
	if err != nil {
		return err
	}
	urls := s.urls(r)
	bodies := make([]wire.Version, len(versions))
	for i := range versions {
		bodies[i] = wire.NewVersion(&asset, &versions[i], all, urls)
	}
	return write(w, http.StatusOK, bodies)
}

// appendVersion is POST /api/assets/{asset_id}/versions.
func (s *Server) appendVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.receiveVersion(w, r, scope, http.StatusCreated, func(asset banksia.AssetID, form *versionForm) (banksia.Version, error) {
		return s.catalog.AppendVersion(r.Context(), scope, asset, form.file, form.request)
	})
}

// replaceVersion is POST /api/assets/{asset_id}/versions/{version_id}/replace.
func (s *Server) replaceVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.VersionID](r, "version_id", "Version")
	if err != nil {
		return err
	}
	return s.receiveVersion(w, r, scope, http.StatusOK, func(asset banksia.AssetID, form *versionForm) (banksia.Version, error) {
		return s.catalog.ReplaceVersion(r.Context(), scope, asset, id, form.file, form.request)
	})
}

func (s *Server) receiveVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope, status int, change func(banksia.AssetID, *versionForm) (banksia.Version, error)) error {
	p := newParams(r.URL.RawQuery)
	all := p.variants()
	if err := p.err(); err != nil {
		return err
	}
	asset, err := s.pathAsset(r, scope) // before any byte is taken
	if err != nil {
		return err
	}
	var form versionForm
	defer form.discard()
	if err := s.readVersion(r, &form); err != nil {
		return err
	}
	version, err := change(asset.ID, &form)
	if err != nil {
		return err
	}
	return write(w, status, wire.NewVersion(&asset, &version, all, s.urls(r)))
}

// versionForm is what has been read of a rendering that is sent.
type versionForm struct {
	request catalog.VersionRequest
	file    *blob.Incoming
}

func (f *versionForm) discard() {
	if f.file != nil {
		f.file.Discard()
	}
}

// readVersion reads the parts file, kind and params in any order.
func (s *Server) readVersion(r *http.Request, form *versionForm) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" || parameters["boundary"] == "" {
		return banksia.Invalid("header", "Content-Type", "must be multipart/form-data with a boundary")
	}
	reader := multipart.NewReader(bufio.NewReaderSize(r.Body, readBuffer), parameters["boundary"])
	texts := map[string]*string{"kind": &form.request.Kind, "params": &form.request.Params}
	given := map[string]bool{}
	for range maxParts {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			for _, name := range []string{"file", "kind", "params"} {
				if !given[name] {
					return banksia.Invalid("body", name, "is required")
				}
			}
			return nil
		}
		if err != nil {
			return broken(err)
		}
		name := part.FormName()
		if name != "file" && texts[name] == nil {
			continue // as unknown parameters are ignored
		}
		if given[name] {
			return banksia.Invalid("body", name, "is there twice")
		}
		given[name] = true
		if to := texts[name]; to != nil {
			text, err := io.ReadAll(io.LimitReader(part, 2*maxTextPart))
			if err != nil {
				return broken(err)
			}
			if !validText(string(text)) {
				return banksia.Invalid("body", name, "holds characters that are not text")
			}
			*to = string(text)
			continue
		}
		form.request.DeclaredType = part.Header.Get("Content-Type")
		content := &brokenBody{reader: part}
		if form.file, err = s.catalog.ReceiveVersion(r.Context(), content); err != nil {
			if content.err != nil {
				return broken(content.err)
			}
			return err
		}
	}
	return banksia.Invalid("body", "body", "has more than %d parts", maxParts)
}

// deleteVersion is DELETE /api/assets/{asset_id}/versions/{version_id}.
func (s *Server) deleteVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeVersion(w, r, scope, func(asset banksia.AssetID, version banksia.VersionID, expected *banksia.VersionID) error {
		return s.catalog.DeleteVersion(r.Context(), scope, asset, version, expected)
	})
}

// revertVersion is POST /api/assets/{asset_id}/versions/{version_id}/revert.
func (s *Server) revertVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeVersion(w, r, scope, func(asset banksia.AssetID, version banksia.VersionID, expected *banksia.VersionID) error {
		return s.catalog.RevertVersion(r.Context(), scope, asset, version, expected)
	})
}

// changeVersion does something to the version of the path. Some clients say which
// one they take for the current one, and are told when that is stale (history.md).
func (s *Server) changeVersion(w http.ResponseWriter, r *http.Request, scope banksia.Scope, change func(banksia.AssetID, banksia.VersionID, *banksia.VersionID) error) error {
	version, err := pathID[banksia.VersionID](r, "version_id", "Version")
	if err != nil {
		return err
	}
	p := newParams(r.URL.RawQuery)
	expected := id[banksia.VersionID](p, "expected_current_version_id")
	if err := p.err(); err != nil {
		return err
	}
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	if err := change(asset.ID, version, expected); err != nil {
		return err
	}
	return s.answerAsset(w, r, scope)
}
