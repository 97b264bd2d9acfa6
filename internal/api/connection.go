package api

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// recorder is an answer on its way: it remembers the status for the log, and cuts
// off clients that take nothing more.
type recorder struct {
	http.ResponseWriter
	connection *http.ResponseController // deadlines are best effort: test recorders have none
	patience   time.Duration
	status     int
	bytes      int64
	body       *incomingBody // of the request; nil: it has none
}

// received is how many bytes of the request's body were read.
func (r *recorder) received() int64 {
	if r.body == nil {
		return 0
	}
	return r.body.bytes.Load()
}

func newRecorder(w http.ResponseWriter, patience time.Duration) *recorder {
	r := &recorder{ResponseWriter: w, connection: http.NewResponseController(w), patience: patience}
	// That of the request before on the same connection may be over.
	r.connection.SetWriteDeadline(time.Time{})
	return r
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.connection.SetWriteDeadline(time.Now().Add(r.patience))
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// receive makes the body of a request end when the client sends nothing more.
func (r *recorder) receive(request *http.Request) {
	if request.Body == nil || request.Body == http.NoBody {
		return
	}
	r.body = &incomingBody{ReadCloser: request.Body, connection: r.connection, patience: r.patience, asked: request.Header.Get("Expect") == ""}
	request.Body = r.body
	r.connection.SetReadDeadline(time.Now().Add(r.patience))
}

// incomingBody is the body of a request.
type incomingBody struct {
	io.ReadCloser
	connection *http.ResponseController
	patience   time.Duration
	asked      bool // the client is sending, not waiting for a go-ahead
	ended      bool
	bytes      atomic.Int64 // a handler may leave a reader behind
}

func (b *incomingBody) Read(p []byte) (int, error) {
	b.asked = true
	b.connection.SetReadDeadline(time.Now().Add(b.patience))
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	b.end(err)
	return n, err
}

// end lifts the deadline after the last byte: from there on the server only watches
// whether the client is still there. After any other error it must stay, for the
// server tries once more to read the rest.
func (b *incomingBody) end(err error) {
	b.ended = b.ended || err != nil
	if err == io.EOF {
		b.connection.SetReadDeadline(time.Time{})
	}
}

const (
	// drainBytes is how much of a refused body is read: enough for photos.
	drainBytes = 16 << 20
	drainTime  = 5 * time.Second
)

// drain reads what is left of a refused body, within limits: many clients look at
// the answer only after they have sent everything, and would see a broken
// connection instead.
func (b *incomingBody) drain() {
	if b.ended || !b.asked {
		return
	}
	b.connection.SetReadDeadline(time.Now().Add(min(drainTime, b.patience)))
	_, err := io.CopyN(io.Discard, b.ReadCloser, drainBytes)
	b.end(err)
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
