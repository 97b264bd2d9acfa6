package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// span is one that a receiver got.
type span struct {
	*tracepb.Span
	service string
}

func (s span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s span) parent() string { return hex.EncodeToString(s.ParentSpanId) }
func (s span) trace() string  { return hex.EncodeToString(s.TraceId) }

func (s span) attribute(name string) string {
	for _, a := range s.Attributes {
		if a.Key == name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// receiver is an OTLP/HTTP endpoint: OpenTelemetry Protocol Specification,
// "OTLP/HTTP".
type receiver struct {
	url string

	mu    sync.Mutex
	spans []span
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body := io.Reader(request.Body)
		if request.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		message, err := io.ReadAll(body)
		var got collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(message, &got)
		}
		if err != nil || request.Method != "POST" || request.URL.Path != "/v1/traces" || request.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s of %s: %v", request.Method, request.URL, request.Header.Get("Content-Type"), err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range got.ResourceSpans {
			service := ""
			for _, a := range resource.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.GetStringValue()
				}
			}
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					r.spans = append(r.spans, span{s, service})
				}
			}
		}
		answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(answer)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) all() []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// traced sends a request with a request id and the trace of its caller.
func (s *server) traced(t *testing.T, method, path, contentType, id, traceparent string, body io.Reader) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("X-Request-Id", id)
	if traceparent != "" {
		request.Header.Set("Traceparent", traceparent)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("X-Request-Id"); got != id {
		t.Errorf("the request %s is answered as %s", id, got)
	}
	return response.StatusCode, answer
}

// sendPhoto uploads a photo and waits until its tasks are done.
func (s *server) sendPhoto(t *testing.T, id, traceparent string) {
	t.Helper()
	contentType, head, tail := form(t, "a.jpg")
	body := slices.Concat(head, photo(1, 80, 60), tail)
	if status, answer := s.traced(t, "POST", "/api/assets", contentType, id, traceparent, bytes.NewReader(body)); status != 201 {
		t.Fatalf("the upload is answered with %d %s", status, answer)
	}
	until(t, "the tasks are done", func() bool {
		var tasks []struct{ Status string }
		s.get(t, "/api/tasks/", s.key, &tasks)
		return len(tasks) == 2 && tasks[0].Status == "success" && tasks[1].Status == "success"
	})
}

// sayEverywhere sends a secret in every place where somebody could.
func (s *server) sayEverywhere(t *testing.T, secret string) {
	t.Helper()
	for _, key := range []string{secret, s.key} {
		for _, path := range []string{"/api/assets?api_key=" + secret, "/api/" + secret, "/media/" + secret + "/original/x?signature=" + secret, "/login?state=" + secret, "/oauth/callback?code=" + secret} {
			s.call(t, "GET", path, key, nil)
		}
		s.call(t, secret, "/api/assets", key, nil)
		s.call(t, "POST", "/oauth/token", key, strings.NewReader("grant_type=refresh_token&refresh_token="+secret))
		s.call(t, "POST", "/api/albums", key, strings.NewReader(`{"name": 1, "`+secret+`": "`+secret+`"}`))
	}
}

const (
	callerTrace = "0af7651916cd43dd8448eb211c80319c"
	callerSpan  = "b7ad6b7169203331"
	traceparent = "00-" + callerTrace + "-" + callerSpan + "-01"
)

// One upload is one tree: the request within the span of its caller, what it did to
// database and storage, and the tasks that followed with what they did.
func TestTraces(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	p := newWorkspace(t)
	p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.url, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_SERVICE_NAME=photos-test"}
	s := p.serve(t, "--log-format", "json")
	s.sendPhoto(t, "upload-request-1", traceparent)
	s.sayEverywhere(t, "hunter2")
	if status := s.end(t, syscall.SIGTERM); status != 0 { // sends the rest
		t.Fatalf("ends with %d: %s", status, s.log)
	}

	byID := map[string]span{}
	var tree []span
	for _, one := range r.all() {
		text, err := proto.Marshal(one.Span)
		if err != nil || bytes.Contains(text, []byte("hunter2")) || bytes.Contains(text, []byte(s.key)) {
			t.Errorf("a secret is in %s, %v", text, err)
		}
		if one.service != "photos-test" {
			t.Errorf("%s is of the service %q", one.Name, one.service)
		}
		if one.trace() == callerTrace {
			tree = append(tree, one)
			byID[one.id()] = one
		} else if one.Kind == tracepb.Span_SPAN_KIND_SERVER && len(one.ParentSpanId) != 0 {
			t.Errorf("%s has the parent %s, without a caller that has one", one.Name, one.parent())
		}
	}
	var root span
	count := map[string]int{} // names below their parents' names
	for _, one := range tree {
		if one.parent() == callerSpan {
			root = one
			continue
		}
		parent, known := byID[one.parent()]
		if !known {
			t.Errorf("%s has no parent in the tree", one.Name)
			continue
		}
		count[parent.Name+" > "+one.Name]++
		if strings.HasPrefix(parent.Name, "task ") { // whichever comes first draws for both
			count["a task > "+one.Name]++
		}
		if one.StartTimeUnixNano < parent.StartTimeUnixNano {
			t.Errorf("%s begins before %s", one.Name, parent.Name)
		}
	}
	if root.Span == nil || root.Name != "POST /api/assets" || root.Kind != tracepb.Span_SPAN_KIND_SERVER ||
		root.attribute("http.route") != "/api/assets" || root.attribute("banksia.request_id") != "upload-request-1" {
		t.Fatalf("the root is %+v", root.Span)
	}
	for _, want := range []string{
		"POST /api/assets > db read",
		"POST /api/assets > db write",
		"POST /api/assets > blob adopt",
		"POST /api/assets > task display_proxy_generation",
		"POST /api/assets > task thumbhash",
		"task display_proxy_generation > db read",
		"task thumbhash > db read",
		"a task > blob fetch",
		"a task > blob adopt",
	} {
		if count[want] == 0 {
			t.Errorf("the tree has no %s; it has %v", want, count)
		}
	}

	// The log names both: the request, and its trace.
	lines := map[string]int{}
	for line := range strings.Lines(s.log.String()) {
		var record struct {
			Message   string `json:"msg"`
			RequestID string `json:"request_id"`
			TraceID   string `json:"trace_id"`
			Route     string `json:"route"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v in the line %s", err, line)
		}
		if record.RequestID != "upload-request-1" {
			continue
		}
		lines[record.Message+" "+record.Route]++
		if record.TraceID != callerTrace {
			t.Errorf("no trace in %s", line)
		}
	}
	if lines["request /api/assets"] != 1 || lines["task "] != 2 {
		t.Errorf("of the upload the log has %v, want one request and two tasks:\n%s", lines, s.log)
	}
}

func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	for _, variable := range []string{"OTEL_TRACES_SAMPLER=always_off", "OTEL_TRACES_EXPORTER=none"} {
		p := newWorkspace(t)
		p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.url, variable}
		s := p.serve(t)
		s.sendPhoto(t, "upload-request-2", "")
		if status := s.end(t, syscall.SIGTERM); status != 0 {
			t.Errorf("ends with %d: %s", status, s.log)
		}
		if strings.Contains(s.log.String(), "trace_id") != (variable == "OTEL_TRACES_SAMPLER=always_off") {
			t.Errorf("%s: trace ids in the log:\n%s", variable, s.log)
		}
	}
	if spans := r.all(); len(spans) > 0 {
		t.Errorf("%d spans were sent, the first is %+v", len(spans), spans[0].Span)
	}
}

// A server that believes no caller begins its own traces.
func TestTracesOfStrangers(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	p := newWorkspace(t)
	p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.url, "OTEL_PROPAGATORS=none"}
	s := p.serve(t)
	s.traced(t, "GET", "/api/users/me", "application/json", "stranger-1", traceparent, nil)
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("ends with %d: %s", status, s.log)
	}
	found := false
	for _, one := range r.all() {
		if one.Name == "GET /api/users/me" {
			found = true
			if one.trace() == callerTrace || len(one.ParentSpanId) != 0 {
				t.Errorf("it is of the trace %s below %s", one.trace(), one.parent())
			}
		}
	}
	if !found {
		t.Errorf("there is no span of the request in %d", len(r.all()))
	}
}

// A receiver that is away costs a line in the log.
func TestTracesWithoutReceiver(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=10"}
	s := p.serve(t)
	until(t, "the failure is logged", func() bool {
		s.call(t, "GET", "/api/users/me", s.key, nil)
		return strings.Contains(s.log.String(), "traces cannot be sent")
	})
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("ends with %d: %s", status, s.log)
	}
	if n := strings.Count(s.log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("the log has it %d times", n)
	}
	if status, _, errOut := func() (int, string, string) {
		p.env = []string{"OTEL_TRACES_EXPORTER=jaeger"}
		return p.run(t, "serve", "--listen", "127.0.0.1:0")
	}(); status != 1 || !strings.Contains(errOut, "OTEL_TRACES_EXPORTER must be otlp or none") {
		t.Errorf("an exporter that is not there: %d %s", status, errOut)
	}
	for _, headers := range []string{"authorization: Bearer hunter2", "authorization=%zz-hunter2", "authorization=Bearer%20x,hunter2", "auth orization=hunter2"} {
		p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS=" + headers}
		if status, _, errOut := p.run(t, "serve", "--listen", "127.0.0.1:0"); status != 1 || !strings.Contains(errOut, "OTEL_EXPORTER_OTLP_HEADERS must be like") || strings.Contains(errOut, "hunter2") {
			t.Errorf("%s: %d %s", headers, status, errOut)
		}
	}
}

var metricsURL = regexp.MustCompile(`msg=metrics url=(http://\S+)`)

func TestMetricsListener(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t, "--metrics-listen", "127.0.0.1:0")
	match := metricsURL.FindStringSubmatch(s.log.String())
	if match == nil {
		t.Fatalf("the log has no address:\n%s", s.log)
	}
	s.sendPhoto(t, "upload-request-3", "")
	s.sayEverywhere(t, "hunter2")
	response, err := http.Get(match[1])
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("%s %v", response.Status, err)
	}
	if bytes.Contains(text, []byte("hunter2")) || bytes.Contains(text, []byte(s.key)) {
		t.Errorf("a secret is in\n%s", text)
	}
	contains(t, "the metrics", string(text), `banksia_http_requests_total{method="POST",route="/api/assets",status="201"} 1`,
		`banksia_task_runs_total{outcome="success",type="thumbhash"} 1`, "banksia_assets 1", `banksia_disk_free_bytes{folder="blobs"}`, "go_goroutines", "process_open_fds")
	if status, _ := s.call(t, "GET", "/metrics", s.key, nil); status != 404 {
		t.Errorf("the public address answers /metrics with %d", status)
	}
	// An address in use is told before anything is touched.
	other := newWorkspace(t)
	taken := strings.TrimSuffix(strings.TrimPrefix(match[1], "http://"), "/metrics")
	if status, _, errOut := other.run(t, "serve", "--listen", "127.0.0.1:0", "--metrics-listen", taken); status != 1 || !strings.Contains(errOut, "in use") {
		t.Errorf("ends with %d: %s", status, errOut)
	}
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("ends with %d: %s", status, s.log)
	}
	if connection, err := net.Dial("tcp", taken); err == nil {
		connection.Close()
		t.Error("the metrics outlive the server")
	}
}

// While a server drains, load balancers see it leave and nobody else notices.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t, "--drain", "2s")
	if status, answer := s.call(t, "GET", "/readyz", "", nil); status != 200 || !bytes.Contains(answer, []byte(`"ready"`)) {
		t.Errorf("/readyz answers %d %s", status, answer)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "it says that it stops", func() bool {
		status, answer := s.call(t, "GET", "/readyz", "", nil)
		return status == 503 && bytes.Contains(answer, []byte(`"stopping"`))
	})
	for _, path := range []string{"/healthz", "/api/users/me"} {
		if status, answer := s.call(t, "GET", path, s.key, nil); status != 200 {
			t.Errorf("meanwhile %s answers %d %s", path, status, answer)
		}
	}
	<-s.ended
	if s.state.ExitCode() != 0 {
		t.Errorf("ends with %v: %s", s.state, s.log)
	}
}
