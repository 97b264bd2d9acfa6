package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

// Parts are what is looked at when Prometheus asks.
type Parts struct {
	Store  *store.Store
	Media  *media.Pool
	Checks []api.Check
	// Folders are those whose file systems may fill up, by the name that they have
	// in labels.
	Folders map[string]string
}

const (
	// watchAge is how long what was looked up counts: scrapes may come from several
	// Prometheus servers, and every node of a cluster is asked.
	watchAge = 10 * time.Second
	// watchTime bounds a look.
	watchTime = 5 * time.Second
)

// Watch adds what is looked up at a scrape to the metrics. Call it once.
func (t *Telemetry) Watch(p Parts) {
	if t == nil || t.metrics == nil {
		return
	}
	t.registry.MustRegister(&watcher{telemetry: t, parts: p})
}

// watcher is a prometheus.Collector whose metrics are looked up at most every
// watchAge.
type watcher struct {
	telemetry *Telemetry
	parts     Parts

	mu     sync.Mutex
	looked time.Time
	found  []prometheus.Metric
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	partUp       = desc("banksia_part_up", "1 while a part of the server answers, else 0.", "part")
	tasksWaiting = desc("banksia_tasks", "Tasks that are not finished, counted up to 50000 together.", "type", "status")
	tasksOldest  = desc("banksia_task_oldest_due_age_seconds", "How long the task that has waited longest could have been run; 0 when none waits.", "type", "status")
	assetCount   = desc("banksia_assets", "Assets outside the trash.")
	storedBytes  = desc("banksia_stored_bytes", "Bytes of originals and versions, the trash included.")
	libraryCount = desc("banksia_libraries", "Libraries.")
	userCount    = desc("banksia_users", "Users.")
	diskFree     = desc("banksia_disk_free_bytes", "Free bytes of the file system of a folder.", "folder")
	diskSize     = desc("banksia_disk_size_bytes", "Bytes of the file system of a folder.", "folder")
	poolLimit    = desc("banksia_db_connections_limit", "Connections that transactions of a kind may use.", "kind")
	poolInUse    = desc("banksia_db_connections_in_use", "Connections that transactions of a kind use.", "kind")
	mediaWorkers = desc("banksia_media_workers", "Processes that decode photos and videos.")
	mediaRunning = desc("banksia_media_jobs_running", "Decoding jobs under way.")
	mediaWaiting = desc("banksia_media_jobs_waiting", "Decoding jobs that wait for a process.")
	mediaStarted = desc("banksia_media_workers_started_total", "Decoding processes started.")
	mediaJobs    = desc("banksia_media_jobs_total", "Decoding jobs that were answered.")
	mediaEnded   = desc("banksia_media_workers_ended_total", "Decoding processes that ended early: timeout, out_of_memory, crash, cancelled (nobody waited any more), replaced (it had grown or grown old).", "reason")
)

func (w *watcher) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{partUp, tasksWaiting, tasksOldest, assetCount, storedBytes, libraryCount, userCount, diskFree, diskSize, poolLimit, poolInUse, mediaWorkers, mediaRunning, mediaWaiting, mediaStarted, mediaJobs, mediaEnded} {
		to <- d
	}
}

func (w *watcher) Collect(to chan<- prometheus.Metric) {
	for _, m := range append(w.lookUp(), w.atHand()...) {
		to <- m
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// atHand is what costs nothing to know.
func (w *watcher) atHand() (found []prometheus.Metric) {
	for _, use := range w.parts.Store.PoolUse() {
		found = append(found, gauge(poolLimit, float64(use.Limit), use.Kind), gauge(poolInUse, float64(use.InUse), use.Kind))
	}
	for name, folder := range w.parts.Folders {
		var stat unix.Statfs_t
		if unix.Statfs(folder, &stat) == nil { // a file system that is gone has no metrics
			found = append(found, gauge(diskFree, float64(stat.Bavail)*float64(stat.Bsize), name), gauge(diskSize, float64(stat.Blocks)*float64(stat.Bsize), name))
		}
	}
	s := w.parts.Media.Stats()
	count := func(d *prometheus.Desc, n int, labels ...string) {
		found = append(found, prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...))
	}
	count(mediaStarted, s.Started)
	count(mediaJobs, s.Jobs)
	count(mediaEnded, s.TimedOut, "timeout")
	count(mediaEnded, s.OutOfMemory, "out_of_memory")
	count(mediaEnded, s.Crashed, "crash")
	count(mediaEnded, s.Cancelled, "cancelled")
	count(mediaEnded, s.Replaced, "replaced")
	return append(found, gauge(mediaWorkers, float64(s.Workers)), gauge(mediaRunning, float64(s.Running)), gauge(mediaWaiting, float64(s.Waiting)))
}

// lookUp asks the database and the storage, or gives what they said lately. What
// cannot be had is left out, and the log says why.
func (w *watcher) lookUp() []prometheus.Metric {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.found != nil && time.Since(w.looked) < watchAge {
		return w.found
	}
	ctx, cancel := context.WithTimeout(context.Background(), watchTime)
	defer cancel()
	var found []prometheus.Metric
	for _, check := range w.parts.Checks {
		up := 1.0
		if check.Ask(ctx) != nil { // the log has it from whoever needed the part
			up = 0
		}
		found = append(found, gauge(partUp, up, check.Name))
	}
	if usage, err := w.parts.Store.Usage(ctx); err != nil {
		w.telemetry.logger.Warn("measure the libraries", "error", err)
	} else {
		found = append(found, gauge(assetCount, float64(usage.Assets)), gauge(storedBytes, float64(usage.StoredBytes)),
			gauge(libraryCount, float64(usage.Libraries)), gauge(userCount, float64(usage.Users)))
	}
	if lengths, err := w.parts.Store.QueueLengths(ctx); err != nil {
		w.telemetry.logger.Warn("measure the queue", "error", err)
	} else {
		found = append(found, queueMetrics(lengths, w.parts.Store.Now())...)
	}
	w.found, w.looked = found, time.Now()
	return found
}

// queueMetrics has a value for every type and status, so that no series ends when
// its queue is empty.
func queueMetrics(lengths []store.QueueLength, now time.Time) (found []prometheus.Metric) {
	type kind struct {
		taskType banksia.TaskType
		status   banksia.TaskStatus
	}
	all := map[kind]store.QueueLength{}
	for _, taskType := range banksia.TaskTypes {
		for _, status := range []banksia.TaskStatus{banksia.TaskPending, banksia.TaskStarted} {
			all[kind{taskType, status}] = store.QueueLength{}
		}
	}
	for _, l := range lengths {
		all[kind{l.Type, l.Status}] = l
	}
	for k, l := range all {
		age := 0.0
		if !l.OldestDue.IsZero() {
			age = now.Sub(l.OldestDue).Seconds()
		}
		found = append(found, gauge(tasksWaiting, float64(l.Count), string(k.taskType), string(k.status)),
			gauge(tasksOldest, age, string(k.taskType), string(k.status)))
	}
	return found
}
