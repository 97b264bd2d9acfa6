package api

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/catalog"
)

const (
	// maxTextPart bounds a text part of an upload.
	maxTextPart = 64 << 10
	// maxParts bounds the parts of an upload; the contract has six.
	maxParts = 64
	// readBuffer is how much is read from the connection at once.
	readBuffer = 256 << 10
)

// createAsset is POST /api/assets. The parts come in any order and the file is
// streamed to the storage as it arrives (behaviour 6.1, 6.2).
func (s *Server) createAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" || parameters["boundary"] == "" {
		return banksia.Invalid("header", "Content-Type", "must be multipart/form-data with a boundary")
	}
	form := uploadForm{texts: map[string]string{}}
	defer form.discard()
	// The multipart reader takes small pieces; the connection gives large ones.
	body := bufio.NewReaderSize(r.Body, readBuffer)
	if err := s.readUpload(r, scope, multipart.NewReader(body, parameters["boundary"]), &form); err != nil {
		return err
	}
	request, err := form.request()
	if err != nil {
		return err
	}
	if form.file == nil {
		return banksia.Invalid("body", "asset_data", "is required, as a file with a name")
	}
	id, created, err := s.catalog.Commit(r.Context(), scope, form.file, request)
	if err != nil {
		return err
	}
	asset, err := s.store.GetAsset(r.Context(), scope, id)
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		// Or the client would take its file for kept.
		return &banksia.Error{Code: banksia.CodeStorage, Message: "The asset was deleted while it was uploaded. Send it again.", Retry: time.Second, Err: err}
	}
	if err != nil {
		return err
	}
	status := http.StatusOK // the only sign of a duplicate (behaviour 6.4)
	if created {
		status = http.StatusCreated
	}
	return s.writeAsset(w, r, status, asset, wire.FullShape)
}

// textParts are the names of an upload's text parts.
var textParts = []string{"device_asset_id", "device_id", "file_created_at", "file_modified_at", "library_id"}

// uploadForm is what has been read of an upload.
type uploadForm struct {
	texts    map[string]string
	fileName string
	file     *blob.Incoming
}

func (f *uploadForm) discard() {
	if f.file != nil {
		f.file.Discard()
	}
}

// readUpload reads all parts. A client that goes away leaves nothing behind
// (behaviour 6.12).
func (s *Server) readUpload(r *http.Request, scope banksia.Scope, reader *multipart.Reader, form *uploadForm) error {
	for range maxParts {
		part, err := reader.NextRawPart() // no decoding of the transfer, so bytes stay exact
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		name := part.FormName()
		switch {
		case name == "asset_data":
			if form.file != nil {
				return banksia.Invalid("body", name, "is there twice")
			}
			if err := s.readFile(r, scope, part, form); err != nil {
				return err
			}
		case slices.Contains(textParts, name):
			text, err := io.ReadAll(io.LimitReader(part, maxTextPart+1))
			if err != nil {
				return broken(err)
			}
			if len(text) > maxTextPart {
				return banksia.Invalid("body", name, "has more than %d bytes", maxTextPart)
			}
			if _, twice := form.texts[name]; twice {
				return banksia.Invalid("body", name, "is there twice")
			}
			form.texts[name] = string(text)
		default: // as unknown parameters are ignored; the next part skips it
		}
	}
	return banksia.Invalid("body", "body", "has more than %d parts", maxParts)
}

func (s *Server) readFile(r *http.Request, scope banksia.Scope, part *multipart.Part, form *uploadForm) error {
	// The name as it was sent: FileName() would drop a path, and the catalog
	// cleans names itself.
	_, disposition, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || disposition["filename"] == "" {
		return banksia.Invalid("body", "asset_data", "must be a file with a name")
	}
	form.fileName = disposition["filename"]
	// What is known to fail must not cost the client gigabytes. Texts that come
	// after the file are checked in the end.
	early, err := form.partial()
	if err != nil {
		return err
	}
	if err := s.catalog.CheckUpload(r.Context(), scope, early); err != nil {
		if _, named := form.texts["library_id"]; named || banksia.ErrorCode(err) != banksia.CodeInvalidRequest {
			return err
		}
	}
	content := &brokenBody{reader: part}
	form.file, err = s.catalog.Receive(r.Context(), content)
	if err != nil && content.err != nil {
		return broken(content.err)
	}
	return err
}

// brokenBody remembers that the body, not the storage, failed.
type brokenBody struct {
	reader io.Reader
	err    error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.reader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// partial is the request as far as it is known.
func (f *uploadForm) partial() (catalog.UploadRequest, error) {
	request := catalog.UploadRequest{FileName: f.fileName}
	if text := f.texts["library_id"]; text != "" {
		library, err := banksia.ParseID[banksia.LibraryID](text)
		if err != nil {
			return request, banksia.Invalid("body", "library_id", "%s", err)
		}
		request.LibraryID = &library
	}
	return request, nil
}

// request checks that all that is required is there.
func (f *uploadForm) request() (catalog.UploadRequest, error) {
	request, err := f.partial()
	if err != nil {
		return request, err
	}
	var problems []banksia.FieldError
	bad := func(name, message string) {
		problems = append(problems, banksia.FieldError{Loc: []string{"body", name}, Msg: message, Type: "value_error"})
	}
	text := func(name string) string {
		value, ok := f.texts[name]
		if !ok {
			problems = append(problems, banksia.FieldError{Loc: []string{"body", name}, Msg: "is required", Type: "missing"})
		}
		return value
	}
	when := func(name string) banksia.LocalTime {
		value := text(name)
		t, err := banksia.ParseLocalTime(value)
		if _, given := f.texts[name]; given && err != nil {
			bad(name, err.Error())
		}
		return t
	}
	request.DeviceAssetID, request.DeviceID = text("device_asset_id"), text("device_id")
	request.FileCreatedAt, request.FileModifiedAt = when("file_created_at"), when("file_modified_at")
	for _, name := range []string{"device_asset_id", "device_id"} {
		if !validText(f.texts[name]) {
			bad(name, "must be UTF-8 without NUL characters")
		}
	}
	if len(problems) > 0 {
		return request, &banksia.Error{Code: banksia.CodeValidation, Message: "The upload is incomplete: " + problems[0].Loc[1] + " " + problems[0].Msg + ".", Fields: problems}
	}
	return request, nil
}
