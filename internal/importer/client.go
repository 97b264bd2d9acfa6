package importer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/media"
)

const (
	// startAttempts and attempts are how often a call is tried before the server
	// counts as lost: at the start an answer is wanted soon, later a restart of
	// the server (about a minute with these delays) must not end the import.
	startAttempts = 3
	attempts      = 8
	firstDelay    = 500 * time.Millisecond
	longestDelay  = 30 * time.Second
	// longestRetryAfter bounds what a server can make the import wait at once.
	longestRetryAfter = 5 * time.Minute
	// maxAnswer bounds the bytes read of an answer: 5000 rows of an existence
	// check take about 2 MiB.
	maxAnswer = 64 << 20
)

// client speaks the public API.
type client struct {
	http     *http.Client
	base     *url.URL
	key      string
	library  string // identifier; "": the server's choice
	location *time.Location
	now      func() time.Time
	attempts int

	sleep func(context.Context, time.Duration) error
}

func newClient(opts Options) (*client, error) {
	base, err := url.Parse(strings.TrimSpace(opts.BaseURL))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the server's URL must look like http://localhost:8000, got %q", opts.BaseURL)
	}
	base.Path = strings.TrimSuffix(strings.TrimRight(base.Path, "/"), "/api")
	base.RawQuery, base.Fragment = "", ""
	key := strings.TrimSpace(opts.APIKey)
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the API key holds characters that no key has")
	}
	h := http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: opts.Parallel + 2,
		IdleConnTimeout:     time.Minute,
		// Counts from the last byte of the upload; the server then stores the
		// file and reads its metadata before it answers.
		ResponseHeaderTimeout: 5 * time.Minute,
	}}
	if opts.HTTPClient != nil {
		h = *opts.HTTPClient
	}
	// Following would turn an upload into a GET.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &h, base: base, key: key, location: opts.Location, now: opts.Now, attempts: startAttempts, sleep: sleep}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fatalError ends the import: no other file would fare better.
type fatalError struct{ err error }

func (e fatalError) Error() string { return e.err.Error() }
func (e fatalError) Unwrap() error { return e.err }

func isFatal(err error) bool {
	_, ok := errors.AsType[fatalError](err)
	return ok
}

// statusError is an answer other than success.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s (%d)", cmp.Or(e.message, http.StatusText(e.status), "unknown status"), e.status)
}

func hasStatus(err error, statuses ...int) bool {
	e, ok := errors.AsType[*statusError](err)
	if ok {
		for _, status := range statuses {
			if e.status == status {
				return true
			}
		}
	}
	return false
}

// notThere are the statuses of a server that lacks an endpoint.
var notThere = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}

// request is one call; body is made anew for each attempt.
type request struct {
	method, path string
	query        url.Values
	body         func() (*requestBody, error) // nil: none
}

type requestBody struct {
	io.ReadCloser
	length      int64
	contentType string
	failure     func() error // what went wrong on our side while it was read
}

func jsonBody(v any) func() (*requestBody, error) {
	return func() (*requestBody, error) {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		return &requestBody{ReadCloser: io.NopCloser(bytes.NewReader(text)), length: int64(len(text)), contentType: "application/json"}, nil
	}
}

// call sends a request until it is answered for good and decodes the answer into
// result. tries is how often it was sent.
func (c *client) call(ctx context.Context, r request, result any) (status, tries int, err error) {
	var delay time.Duration
	for tries = 1; ; tries++ {
		var lost bool
		status, delay, lost, err = c.try(ctx, r, result)
		if err == nil {
			return status, tries, nil
		}
		if ctx.Err() != nil {
			return 0, tries, context.Cause(ctx)
		}
		if delay < 0 {
			return 0, tries, c.judge(err)
		}
		if tries >= c.attempts {
			if lost && r.path != pingPath && c.alive(ctx) {
				return 0, tries, err // only this request cannot get through
			}
			if lost || hasStatus(err, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout) {
				return 0, tries, fatalError{fmt.Errorf("the server at %s is not available: %w", c.base.Redacted(), err)}
			}
			return 0, tries, err
		}
		if delay == 0 {
			delay = min(firstDelay<<(tries-1), longestDelay)
			delay += time.Duration(rand.Int64N(int64(delay)/4 + 1)) // so that workers do not come back as one
		}
		if err := c.sleep(ctx, delay); err != nil {
			return 0, tries, err
		}
	}
}

const pingPath = "/api/server/ping"

// alive asks once, without credentials (behaviour 4.12).
func (c *client) alive(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(pingPath).String(), nil)
	if err != nil {
		return false
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// judge makes errors fatal that every other file would meet too.
func (c *client) judge(err error) error {
	switch {
	case hasStatus(err, http.StatusUnauthorized):
		return fatalError{fmt.Errorf("the server does not accept the API key: %w", err)}
	case hasStatus(err, http.StatusForbidden):
		return fatalError{fmt.Errorf("the API key does not allow this; it needs read and write: %w", err)}
	case hasStatus(err, http.StatusInsufficientStorage):
		return fatalError{fmt.Errorf("there is no storage left: %w", err)}
	case hasStatus(err, http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect):
		return fatalError{err}
	}
	return err
}

// try sends a request once. delay says when to repeat it: negative for never, 0
// where the server did not say. lost tells that there was no answer.
func (c *client) try(ctx context.Context, r request, result any) (status int, delay time.Duration, lost bool, err error) {
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	var body *requestBody
	var reader io.Reader
	if r.body != nil {
		if body, err = r.body(); err != nil {
			return 0, -1, false, err
		}
		reader = body
	}
	request, err := http.NewRequestWithContext(ctx, r.method, u.String(), reader)
	if err != nil {
		return 0, -1, false, fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.ContentLength = body.length
		request.Header.Set("Content-Type", body.contentType)
	}
	answer, err := c.http.Do(request)
	if body != nil && body.failure != nil {
		if own := body.failure(); own != nil {
			if err == nil {
				answer.Body.Close()
			}
			return 0, -1, false, own
		}
	}
	if err != nil {
		return 0, 0, true, err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		if result != nil {
			if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(result); err != nil {
				return 0, 0, true, fmt.Errorf("read the server's answer: %w", err)
			}
		}
		io.Copy(io.Discard, io.LimitReader(answer.Body, 4096)) // the connection can be used again
		return answer.StatusCode, 0, false, nil
	}
	failure := &statusError{answer.StatusCode, errorMessage(answer)}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if answer.Header.Get("X-Should-Retry") == "false" { // behaviour 2.13
			return 0, -1, false, failure
		}
		return 0, c.retryAfter(answer.Header.Get("Retry-After")), false, failure
	}
	return 0, -1, false, failure
}

// retryAfter reads the header as seconds or as a date; 0 where it says nothing.
func (c *client) retryAfter(header string) time.Duration {
	var delay time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		delay = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		delay = at.Sub(c.now())
	}
	return max(0, min(delay, longestRetryAfter))
}

// errorMessage reads the text for people out of the contract's error envelope
// (behaviour 3.1, 3.2).
func errorMessage(answer *http.Response) string {
	if answer.StatusCode/100 == 3 {
		return "the server sends on to " + cleanText(answer.Header.Get("Location")) + ", use that URL"
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var envelope struct {
		Detail  json.RawMessage `json:"detail"`
		Message string          `json:"message"`
		Error   string          `json:"error"`
	}
	if json.Unmarshal(text, &envelope) != nil {
		return ""
	}
	var detail string
	if json.Unmarshal(envelope.Detail, &detail) != nil {
		var fields []struct {
			Msg string `json:"msg"`
		}
		json.Unmarshal(envelope.Detail, &fields) // another shape leaves it empty
		for i, field := range fields {
			if i > 0 {
				detail += "; "
			}
			detail += field.Msg
		}
	}
	message := []rune(cleanText(strings.TrimSuffix(cmp.Or(detail, envelope.Message, envelope.Error), ".")))
	return string(message[:min(len(message), 500)])
}

func (c *client) libraryQuery() url.Values {
	if c.library == "" {
		return nil
	}
	return url.Values{"library_id": {c.library}}
}

// chooseLibrary finds the library to import into and makes sure that the server
// answers and takes the key.
func (c *client) chooseLibrary(ctx context.Context, wanted string) error {
	if _, err := banksia.ParseID[banksia.LibraryID](wanted); err == nil {
		c.library = wanted
	} else if wanted != "" {
		libraries, err := c.libraries(ctx)
		if err != nil {
			return fmt.Errorf("look for the library %q: %w", wanted, err)
		}
		var found []string
		for _, l := range libraries {
			if l.Name == wanted {
				found = append(found, l.ID)
			}
		}
		switch len(found) {
		case 0:
			return fmt.Errorf("there is no library %q; there is %s", wanted, listLibraries(libraries))
		case 1:
			c.library = found[0]
		default:
			return fmt.Errorf("several libraries are called %q; give the identifier: %s", wanted, strings.Join(found, ", "))
		}
	}
	_, err := c.exist(ctx, []*item{{}})
	if hasStatus(err, http.StatusBadRequest) && c.library == "" {
		if libraries, listErr := c.libraries(ctx); listErr == nil && len(libraries) > 1 {
			return fmt.Errorf("there are several libraries; choose one: %s", listLibraries(libraries))
		}
	}
	if hasStatus(err, http.StatusNotFound) && c.library != "" {
		return fmt.Errorf("use the library %s: %w", c.library, err)
	}
	if hasStatus(err, notThere...) {
		return fmt.Errorf("%s does not answer like a Banksia server: %w", c.base.Redacted(), err)
	}
	if err != nil {
		return fmt.Errorf("start the import: %w", err)
	}
	c.attempts = attempts
	return nil
}

type library struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (c *client) libraries(ctx context.Context) ([]library, error) {
	var libraries []library
	_, _, err := c.call(ctx, request{method: http.MethodGet, path: "/api/libraries"}, &libraries)
	return libraries, err
}

func listLibraries(libraries []library) string {
	var names []string
	for _, l := range libraries[:min(len(libraries), 20)] {
		names = append(names, fmt.Sprintf("%q (%s)", l.Name, cleanText(l.ID)))
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// exist asks which of the files the server has, trashed ones included, and
// returns their assets by checksum. At most existBatch items.
func (c *client) exist(ctx context.Context, items []*item) (map[digest]string, error) {
	checksums := make([]string, len(items))
	for i, it := range items {
		checksums[i] = base64.StdEncoding.EncodeToString(it.checksum[:])
	}
	var answer struct {
		Assets []struct {
			ID       string `json:"id"`
			Checksum string `json:"checksum"`
		} `json:"assets"`
	}
	_, _, err := c.call(ctx, request{http.MethodPost, "/api/assets/exist", c.libraryQuery(), jsonBody(map[string]any{"checksums": checksums})}, &answer)
	if err != nil {
		return nil, fmt.Errorf("ask what is there already: %w", err)
	}
	there := make(map[digest]string, len(answer.Assets))
	for _, a := range answer.Assets {
		if sum, err := base64.StdEncoding.DecodeString(a.Checksum); err == nil && len(sum) == sha256.Size {
			there[digest(sum)] = a.ID
		}
	}
	return there, nil
}

// assetMetadata is the part of an asset's metadata that sidecars can add to.
type assetMetadata struct {
	Description      *string  `json:"description"`
	Latitude         *float64 `json:"latitude"`
	Longitude        *float64 `json:"longitude"`
	OriginalDateTime *string  `json:"original_datetime"`
}

type assetAnswer struct {
	ID       string         `json:"id"`
	Checksum string         `json:"checksum"`
	Metadata *assetMetadata `json:"metadata"`
}

// uploaded is what came of an upload.
type uploaded struct {
	id       string
	created  bool // false: the library had it
	metadata *assetMetadata
}

// upload sends a file. Of one that is streamed, the checksum is known afterwards.
func (c *client) upload(ctx context.Context, it *item, about facts, progress *progress) (uploaded, error) {
	created, modified := it.times(about, c.location)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	fields := [][2]string{
		{"device_asset_id", it.deviceAssetID()},
		{"device_id", deviceID},
		{"file_created_at", created},
		{"file_modified_at", modified},
	}
	if c.library != "" {
		fields = append(fields, [2]string{"library_id", c.library})
	}
	for _, field := range fields {
		w.WriteField(field[0], field[1]) // into memory: cannot fail
	}
	w.CreateFormFile("asset_data", it.uploadName(about.title))
	head := form.Len()
	w.Close()
	prefix, suffix := form.Bytes()[:head], form.Bytes()[head:]

	var sending *contentReader
	body := func() (*requestBody, error) {
		content := io.NopCloser(bytes.NewReader(it.data))
		if it.data == nil {
			opened, err := it.open()
			if err != nil {
				return nil, err
			}
			content = opened
		}
		if sending != nil {
			sending.takeBack()
		}
		sending = &contentReader{content: content, size: it.size}
		if it.data == nil {
			sending.sum, sending.progress = sha256.New(), progress
		}
		return &requestBody{
			ReadCloser: struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(prefix), sending, bytes.NewReader(suffix)), sending},
			length:      int64(len(prefix)) + it.size + int64(len(suffix)),
			contentType: w.FormDataContentType(),
			failure:     sending.failure,
		}, nil
	}
	var answer assetAnswer
	status, tries, err := c.call(ctx, request{method: http.MethodPost, path: "/api/assets", body: body}, &answer)
	if err != nil {
		if sending != nil {
			sending.takeBack()
		}
		if hasStatus(err, http.StatusNotFound, http.StatusMethodNotAllowed) {
			return uploaded{}, fatalError{err} // the library is gone
		}
		return uploaded{}, err
	}
	if sending.sum != nil {
		it.checksum, it.counted = sending.result()
	}
	if answer.ID == "" {
		return uploaded{}, errors.New("the server's answer names no asset")
	}
	if sum, err := base64.StdEncoding.DecodeString(answer.Checksum); err == nil && len(sum) == sha256.Size && digest(sum) != it.checksum {
		return uploaded{}, errors.New("the server received other bytes than were sent")
	}
	return uploaded{
		id: answer.ID,
		// An answer that got lost shows as a duplicate of our own upload; what
		// was in memory had been asked about and was missing.
		created:  status == http.StatusCreated || tries > 1 && it.data != nil,
		metadata: answer.Metadata,
	}, nil
}

// contentReader gives a file to the HTTP client, which reads it from a goroutine
// of its own and may go on for a moment after the call has returned.
type contentReader struct {
	mu       sync.Mutex
	content  io.ReadCloser
	size     int64
	n        int64
	sum      hash.Hash // nil: the checksum is known
	progress *progress // nil: counted when done
	err      error
	closed   bool
}

func (r *contentReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errors.New("read after close")
	}
	n, err := r.content.Read(p)
	r.n += int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	if r.progress != nil {
		r.progress.bytes(int64(n))
	}
	switch {
	case r.n > r.size, err == io.EOF && r.n < r.size:
		err = errChanged
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *contentReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.content.Close()
}

func (r *contentReader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// result is the checksum and how many bytes were counted.
func (r *contentReader) result() (sum digest, counted int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Sum(sum[:0])
	return sum, r.n
}

// takeBack uncounts what an attempt in vain has sent.
func (r *contentReader) takeBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.progress != nil {
		r.progress.bytes(-r.n)
		r.progress = nil
	}
}

// metadata reads what the server knows of an asset.
func (c *client) metadata(ctx context.Context, id string) (*assetMetadata, error) {
	var answer assetAnswer
	_, _, err := c.call(ctx, request{method: http.MethodGet, path: "/api/assets/" + url.PathEscape(id), query: url.Values{"include": {"metadata"}}}, &answer)
	if err != nil {
		return nil, fmt.Errorf("compare the sidecar with the server: %w", err)
	}
	if answer.Metadata == nil {
		return &assetMetadata{}, nil
	}
	return answer.Metadata, nil
}

// updateAsset sets user metadata (behaviour 8.1).
func (c *client) updateAsset(ctx context.Context, id string, change map[string]any) error {
	_, _, err := c.call(ctx, request{method: http.MethodPatch, path: "/api/assets/" + url.PathEscape(id), body: jsonBody(change)}, nil)
	if err != nil {
		return fmt.Errorf("send the facts of the sidecar: %w", err)
	}
	return nil
}

func isVideo(name string) bool {
	format, ok := media.FormatByName(name)
	return ok && format.MediaType == banksia.Video
}
