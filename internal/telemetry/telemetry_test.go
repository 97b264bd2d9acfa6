package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/telemetry"
)

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	os.Exit(m.Run())
}

// scraped is what Prometheus reads: values by name and labels as they are written.
type scraped map[string]float64

var sample = regexp.MustCompile(`(?m)^([a-z_]+(?:\{.*\})?) (\S+)$`)

func scrape(t *testing.T, measured *telemetry.Telemetry) scraped {
	t.Helper()
	answer := httptest.NewRecorder()
	measured.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("the scrape answers %d %s", answer.Code, answer.Body)
	}
	found := scraped{}
	for _, match := range sample.FindAllStringSubmatch(answer.Body.String(), -1) {
		value, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatalf("%s: %v", match[0], err)
		}
		found[match[1]] = value
	}
	return found
}

func (s scraped) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if got, there := s[name]; !there || got != value {
			t.Errorf("%s is %v (there: %t), want %v", name, got, there, value)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Telemetry: telemetry.Config{Version: "v9", Metrics: true}})
	photo := banksiatest.JPEG(t, 64, 48, 1)
	answer := s.Upload(t, banksiatest.UploadParts("a.jpg", photo))
	if answer.Status != http.StatusCreated {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	var asset struct{ ID string }
	answer.JSON(t, &asset)
	broken := s.Upload(t, banksiatest.UploadParts("b.jpg", append([]byte{0xff, 0xd8, 0xff, 0xe0}, make([]byte, 500)...)))
	if broken.Status != http.StatusCreated {
		t.Fatalf("%d %s", broken.Status, broken.Body)
	}
	s.Finished(t)
	for range 3 {
		s.Call(t, "GET", "/api/assets/"+asset.ID, nil)
	}
	s.Call(t, "GET", "/api/assets/asset_0000000000000000000000", nil)
	s.Call(t, "GET", "/api/tasks", nil)
	s.Call(t, "GET", "/api/tasks/", nil)
	s.CallAs(t, "", "GET", "/api/albums", nil)
	for i := range 50 { // what callers make up is one series
		s.Call(t, "GET", fmt.Sprintf("/made/up/%d", i), nil)
		s.Call(t, fmt.Sprintf("METHOD%d", i), "/api/albums", nil)
	}
	found := scrape(t, s.Telemetry)
	found.expect(t, map[string]float64{
		`banksia_build_info{version="v9"}`:                                                         1,
		`banksia_http_requests_in_flight`:                                                          0,
		`banksia_http_requests_total{method="POST",route="/api/assets",status="201"}`:              2,
		`banksia_http_requests_total{method="GET",route="/api/assets/{asset_id}",status="200"}`:    3,
		`banksia_http_requests_total{method="GET",route="/api/tasks",status="200"}`:                2, // both spellings
		`banksia_http_requests_total{method="GET",route="/api/albums",status="401"}`:               1,
		`banksia_http_requests_total{method="GET",route="unmatched",status="404"}`:                 50,
		`banksia_http_requests_total{method="other",route="unmatched",status="405"}`:               50,
		`banksia_http_request_duration_seconds_count{method="GET",route="/api/assets/{asset_id}"}`: found[`banksia_http_request_duration_seconds_bucket{method="GET",route="/api/assets/{asset_id}",le="+Inf"}`],
		`banksia_blob_operation_duration_seconds_count{operation="adopt",outcome="ok"}`:            found[`banksia_blob_operation_duration_seconds_bucket{operation="adopt",outcome="ok",le="+Inf"}`],
		`banksia_task_runs_total{outcome="success",type="display_proxy_generation"}`:               1,
		`banksia_task_runs_total{outcome="failure",type="display_proxy_generation"}`:               1,
		`banksia_task_run_duration_seconds_count{type="display_proxy_generation"}`:                 2,
		`banksia_tasks{status="pending",type="thumbhash"}`:                                         0,
		`banksia_task_oldest_due_age_seconds{status="pending",type="thumbhash"}`:                   0,
		`banksia_assets`:                                    2,
		`banksia_stored_bytes`:                              float64(len(photo) + 504),
		`banksia_libraries`:                                 1,
		`banksia_users`:                                     1,
		`banksia_part_up{part="database"}`:                  1,
		`banksia_part_up{part="storage"}`:                   1,
		`banksia_db_connections_in_use{kind="read"}`:        0,
		`banksia_media_jobs_running`:                        0,
		`banksia_media_workers_ended_total{reason="crash"}`: 0,
	})
	for name, least := range map[string]float64{
		`banksia_http_received_bytes_total{method="POST",route="/api/assets"}`:         float64(len(photo) + 504),
		`banksia_http_sent_bytes_total{method="POST",route="/api/assets"}`:             float64(len(answer.Body) + len(broken.Body)),
		`banksia_db_transaction_duration_seconds_count{kind="write",outcome="commit"}`: 3,
		`banksia_db_transaction_duration_seconds_count{kind="read",outcome="commit"}`:  5,
		`banksia_db_wait_seconds_count{kind="write"}`:                                  3,
		`banksia_media_workers`:                      1,
		`banksia_media_workers_started_total`:        1,
		`banksia_media_jobs_total`:                   3,
		`banksia_disk_free_bytes{folder="data"}`:     1,
		`banksia_disk_size_bytes{folder="data"}`:     1,
		`banksia_db_connections_limit{kind="write"}`: 1,
		`go_goroutines`:                              1,
		`process_resident_memory_bytes`:              1,
	} {
		if found[name] < least {
			t.Errorf("%s is %v, want at least %v", name, found[name], least)
		}
	}
}

var metricName = regexp.MustCompile(`\b(?:banksia|process|go)_[a-z_]+`)

// The example alerts and the documentation name metrics that exist.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Telemetry: telemetry.Config{Metrics: true}})
	s.Upload(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 20, 20, 1)))
	s.Finished(t)
	answer := httptest.NewRecorder()
	s.Telemetry.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	there := map[string]bool{}
	for _, name := range metricName.FindAllString(answer.Body.String(), -1) {
		there[name] = true
	}
	read := func(name string) string {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read("deploy/alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	if len(alerts.Groups) != 1 || len(alerts.Groups[0].Rules) < 8 {
		t.Fatalf("the alerts are %+v", alerts)
	}
	for _, rule := range alerts.Groups[0].Rules {
		if rule.Alert == "" || rule.Expr == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
			t.Errorf("an alert lacks a part: %+v", rule)
		}
		for _, name := range metricName.FindAllString(rule.Expr, -1) {
			if !there[name] {
				t.Errorf("%s watches %s, which is no metric", rule.Alert, name)
			}
		}
	}
	// Names in the table of docs/operations.md come without their beginning.
	_, section, _ := strings.Cut(read("docs/operations.md"), "## Metrics and alerts")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		for quoted := range strings.SplitSeq(strings.TrimSpace(cells[1]), ", ") {
			name := "banksia_" + strings.Trim(quoted, "`")
			documented[name] = true
			if !there[name] {
				t.Errorf("the documentation has %s, which is no metric", name)
			}
		}
	}
	for name := range there {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "banksia_") && !documented[name] && !documented[base] {
			t.Errorf("the documentation lacks %s", name)
		}
	}
}

// What cannot be done for now stays in the queue, and the part at fault is down.
func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Telemetry: telemetry.Config{Metrics: true}})
	s.BreakStorage(t)
	asset := s.AddAsset(t, func(*banksia.Asset, *banksia.Metadata) {})
	s.Enqueue(t, asset.ID, banksia.TaskThumbHash)
	s.Logged(t, "outcome=retry")
	scrape(t, s.Telemetry).expect(t, map[string]float64{
		`banksia_task_runs_total{outcome="retry",type="thumbhash"}`: 1,
		`banksia_tasks{status="started",type="thumbhash"}`:          1, // it waits for its next attempt
		`banksia_tasks{status="pending",type="thumbhash"}`:          0,
		`banksia_part_up{part="database"}`:                          1,
		`banksia_part_up{part="storage"}`:                           0,
	})
	s.MendStorage(t)
}

// Measuring nothing leaves nothing to call.
func TestNothingMeasured(t *testing.T) {
	t.Parallel()
	off, err := telemetry.New(t.Context(), telemetry.Config{Metrics: false, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	if off.Tracing() || off.Requests() != nil || off.Transactions() != nil || off.Blobs() != nil || off.Tasks() != nil {
		t.Error("hooks are there")
	}
	if err := off.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTracingVariables(t *testing.T) {
	t.Parallel()
	const endpoint = "http://127.0.0.1:4318"
	for _, row := range []struct {
		variables string
		on        bool
		problem   string
	}{
		{"", false, ""},
		{"OTEL_SERVICE_NAME=x", false, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint + " OTEL_TRACES_EXPORTER=none", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint + " OTEL_SDK_DISABLED=true", false, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, "OTEL_TRACES_EXPORTER must be otlp or none"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"},
	} {
		variables := map[string]string{}
		for pair := range strings.FieldsSeq(row.variables) {
			name, value, _ := strings.Cut(pair, "=")
			variables[name] = value
		}
		measured, err := telemetry.New(t.Context(), telemetry.Config{Getenv: func(name string) string { return variables[name] }})
		switch {
		case row.problem != "":
			if err == nil || !strings.Contains(err.Error(), row.problem) {
				t.Errorf("%s: %v", row.variables, err)
			}
		case err != nil:
			t.Errorf("%s: %v", row.variables, err)
		default:
			if measured.Tracing() != row.on {
				t.Errorf("%s: on: %t", row.variables, measured.Tracing())
			}
			if err := measured.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLogHandler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(telemetry.LogHandler(slog.NewJSONHandler(&out, nil))).With("part", "x").WithGroup("g")
	ctx := banksia.WithCause(context.Background(), banksia.Cause{RequestID: "r-1", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
	logger.InfoContext(ctx, "hello", "a", 1)
	logger.InfoContext(context.Background(), "alone", "a", 2)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"request_id":"r-1","trace_id":"0af7651916cd43dd8448eb211c80319c","a":1`) || strings.Contains(lines[1], "request_id") {
		t.Errorf("%s", out.String())
	}
}

// BenchmarkRequest is what measuring adds to a request with three transactions.
func BenchmarkRequest(b *testing.B) {
	for name, cfg := range map[string]telemetry.Config{
		"metrics": {Metrics: true},
		"traces": {Metrics: true, Getenv: func(name string) string {
			return map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}[name]
		}, Logger: slog.New(slog.DiscardHandler)},
	} {
		b.Run(name, func(b *testing.B) {
			measured, err := telemetry.New(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			requests, transactions := measured.Requests(), measured.Transactions()
			r := httptest.NewRequest("GET", "/api/assets", nil)
			for b.Loop() {
				ctx, done := requests(r)
				for range 3 {
					_, committed := transactions(ctx, "read")
					committed(0, nil)
				}
				done(api.Served{Route: "/api/assets", Status: 200, Sent: 1000})
			}
		})
	}
}
