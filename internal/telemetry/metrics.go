package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/banksia-photos/banksia/internal/api"
)

// Buckets are seconds.
var (
	requestBuckets     = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	transactionBuckets = []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30}
	blobBuckets        = []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 30}
	taskBuckets        = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600}
)

// metrics are counted as things happen; what is looked up at each scrape is in
// watch.go.
type metrics struct {
	requests        *prometheus.CounterVec
	requestTime     *prometheus.HistogramVec
	received, sent  *prometheus.CounterVec
	underWay        prometheus.Gauge
	transactionTime *prometheus.HistogramVec
	transactionWait *prometheus.HistogramVec
	blobTime        *prometheus.HistogramVec
	taskRuns        *prometheus.CounterVec
	taskTime        *prometheus.HistogramVec
}

func newMetrics(registry *prometheus.Registry, version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		registry.MustRegister(h)
		return h
	}
	underWay := prometheus.NewGauge(prometheus.GaugeOpts{Name: "banksia_http_requests_in_flight", Help: "Requests under way."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "banksia_build_info", Help: "1; the version is a label.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	registry.MustRegister(underWay, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &metrics{
		requests:        counter("banksia_http_requests_total", "Requests by route, method and status; 499 got no answer.", "route", "method", "status"),
		requestTime:     histogram("banksia_http_request_duration_seconds", "Time from the first byte of a request to the end of its answer.", requestBuckets, "route", "method"),
		received:        counter("banksia_http_received_bytes_total", "Bytes of request bodies; uploads are POST /api/assets.", "route", "method"),
		sent:            counter("banksia_http_sent_bytes_total", "Bytes of response bodies.", "route", "method"),
		underWay:        underWay,
		transactionTime: histogram("banksia_db_transaction_duration_seconds", "Time of database transactions, waiting included.", transactionBuckets, "kind", "outcome"),
		transactionWait: histogram("banksia_db_wait_seconds", "Time that transactions waited for their turn and for a connection.", transactionBuckets, "kind"),
		blobTime:        histogram("banksia_blob_operation_duration_seconds", "Time of operations of the blob storage.", blobBuckets, "operation", "outcome"),
		taskRuns:        counter("banksia_task_runs_total", "Runs of tasks by type and outcome: success, failure (for good), retry, released (the server was stopping).", "type", "outcome"),
		taskTime:        histogram("banksia_task_run_duration_seconds", "Time of runs of tasks.", taskBuckets, "type"),
	}
}

// unmatched is the route of requests that no pattern answers.
const unmatched = "unmatched"

func (m *metrics) request(method string, served api.Served) {
	route := served.Route
	if route == "" {
		route = unmatched
	}
	m.underWay.Dec()
	m.requests.WithLabelValues(route, method, strconv.Itoa(served.Status)).Inc()
	m.requestTime.WithLabelValues(route, method).Observe(served.Duration.Seconds())
	if served.Received > 0 {
		m.received.WithLabelValues(route, method).Add(float64(served.Received))
	}
	m.sent.WithLabelValues(route, method).Add(float64(served.Sent))
}

func (m *metrics) transaction(kind string, duration, waited time.Duration, err error) {
	outcome := "commit"
	if err != nil {
		outcome = "rollback"
	}
	m.transactionTime.WithLabelValues(kind, outcome).Observe(duration.Seconds())
	if waited < 0 { // it never came to its turn
		waited = duration
	}
	m.transactionWait.WithLabelValues(kind).Observe(waited.Seconds())
}

func (m *metrics) blob(operation string, duration time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.blobTime.WithLabelValues(operation, outcome).Observe(duration.Seconds())
}

func (m *metrics) task(taskType, outcome string, duration time.Duration) {
	m.taskRuns.WithLabelValues(taskType, outcome).Inc()
	m.taskTime.WithLabelValues(taskType).Observe(duration.Seconds())
}
