package api

import (
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// maxTasks bounds a list of tasks, which has no pages.
const maxTasks = 1000

// taskTypes is every type that the contract names, also those that this server
// never runs.
var taskTypes = []banksia.TaskType{"image_quality", "embedding", "face_detection", "face_clustering", "asset_description", "asset_storage_cleanup",
	"asset_version_storage_cleanup", "reverse_geocoding", "video_thumbnail_extract", "video_metadata_extract", "thumbhash", "display_proxy_generation",
	"burst_detection", "product_update_subscription"}

// listTasks is GET /api/tasks/: a bare array, newest first (behaviour 17.1).
func (s *Server) listTasks(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter := store.TaskFilter{
		LibraryID: id[banksia.LibraryID](p, "library_id"),
		Status:    choice(p, "status", "", banksia.TaskPending, banksia.TaskStarted, banksia.TaskSuccess, banksia.TaskFailure),
		Type:      choice(p, "task_type", "", taskTypes...),
		Limit:     p.integer("limit", 100, 1, maxTasks),
	}
	if err := p.err(); err != nil {
		return err
	}
	if filter.LibraryID != nil { // unknown or foreign: 404
		if _, err := s.store.ResolveLibrary(r.Context(), scope, filter.LibraryID); err != nil {
			return err
		}
	}
	return s.writeTasks(w, r, scope, filter)
}

// listAssetTasks is GET /api/tasks/asset/{asset_id}. An unknown asset has no
// tasks: the contract names no 404 here.
func (s *Server) listAssetTasks(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	asset, err := banksia.ParseID[banksia.AssetID](r.PathValue("asset_id"))
	if err != nil {
		return banksia.Invalid("path", "asset_id", "%s", err)
	}
	return s.writeTasks(w, r, scope, store.TaskFilter{AssetID: &asset, Limit: maxTasks})
}

func (s *Server) writeTasks(w http.ResponseWriter, r *http.Request, scope banksia.Scope, filter store.TaskFilter) error {
	tasks, err := s.store.ListTasks(r.Context(), scope, filter)
	if err != nil {
		return err
	}
	bodies := make([]wire.Task, len(tasks))
	for i := range tasks {
		bodies[i] = wire.NewTask(&tasks[i])
	}
	return write(w, http.StatusOK, bodies)
}

// getTask is GET /api/tasks/{task_id}, by the id or by the delivery id (behaviour
// 1.8).
func (s *Server) getTask(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	text := r.PathValue("task_id")
	var byID *banksia.TaskID
	if id, err := banksia.ParseID[banksia.TaskID](text); err == nil {
		byID = &id
	}
	if !validText(text) {
		return banksia.Invalid("path", "task_id", "holds characters that are not text")
	}
	task, err := s.store.GetTask(r.Context(), scope, byID, text)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewTask(&task))
}
