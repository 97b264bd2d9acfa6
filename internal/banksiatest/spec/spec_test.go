package spec

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

func contract(t *testing.T) *Document {
	t.Helper()
	text, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	library = `{"id":"lib_2222222222222222222222","created_at":"2024-05-01T12:00:00Z","name":"Photos","updated_at":"2024-05-01T12:00:00.123456+00:00","asset_count":0,"storage_used_bytes":0,"user_id":"intuser_2222222222222222222222","unknown":null}`
	person  = `{"id":"person_2222222222222222222222","created_at":"2024-05-01T12:00:00Z","is_favorite":false,"is_hidden":false,"updated_at":"2024-05-01T12:00:00Z"`
	failed  = `{"detail":"Not found.","error":"not_found","message":"Not found."}`
	invalid = `{"detail":[{"loc":["query","limit"],"msg":"must be 1 to 200","type":"range"}]}`
)

func TestCheckResponse(t *testing.T) {
	t.Parallel()
	d := contract(t)
	const page = `{"data":[],"has_more":false}`
	tests := []struct {
		name, method, path string
		status             int
		contentType, body  string
		want               string // part of the error, empty for none
	}{
		{"library", "GET", "/api/libraries", 200, "application/json", "[" + library + "]", ""},
		{"charset", "GET", "/api/libraries", 200, "application/json; charset=utf-8", "[" + library + "]", ""},
		{"trailing slash and query", "GET", "/api/libraries/?x=1", 200, "application/json", "[" + library + "]", ""},
		{"no trailing slash", "GET", "/api/tasks", 200, "application/json", "[]", ""},
		{"required field is absent", "GET", "/api/libraries", 200, "application/json", `[{"id":"lib_2222222222222222222222"}]`, "missing properties"},
		{"wrong type", "GET", "/api/libraries", 200, "application/json", strings.Replace("["+library+"]", `"Photos"`, "7", 1), "got number"},
		{"null where none is allowed", "GET", "/api/libraries", 200, "application/json", strings.Replace("["+library+"]", `"Photos"`, "null", 1), "got null"},
		{"null where allowed", "GET", "/api/people/x", 200, "application/json", person + `,"name":null,"cluster_metrics":null}`, ""},
		{"neither of anyOf", "GET", "/api/people/x", 200, "application/json", person + `,"cluster_metrics":3}`, "anyOf"},
		{"time without an offset (2.8)", "GET", "/api/people/x", 200, "application/json", strings.ReplaceAll(person, "Z", "") + "}", ""},
		{"not a time", "GET", "/api/people/x", 200, "application/json", strings.Replace(person, "2024-05-01T12:00:00Z", "yesterday", 1) + "}", "date-time"},
		{"time with a space", "GET", "/api/people/x", 200, "application/json", strings.Replace(person, "T12", " 12", 1) + "}", "date-time"},
		{"not a date", "GET", "/api/people/x", 200, "application/json", person + `,"birth_date":"1.5.2024"}`, "date"},
		{"not JSON", "GET", "/api/libraries", 200, "application/json", "[", "not JSON"},
		{"two JSON values", "GET", "/api/libraries", 200, "application/json", "[] []", "not JSON"},
		{"other content type", "GET", "/api/libraries", 200, "text/html", "[]", "not documented"},
		{"no content type", "GET", "/api/libraries", 200, "", "[]", "Content-Type"},
		{"undocumented status", "GET", "/api/libraries", 418, "application/json", failed, "documents only"},
		{"text", "GET", "/api/server/ping", 200, "text/plain; charset=utf-8", "pong", ""},
		{"any type", "GET", "/api/assets/x/download", 200, "image/heic", "\x00", ""},
		{"204 has no body", "POST", "/api/people/x/merge", 204, "", "", ""},
		{"204 with a body", "POST", "/api/people/x/merge", 204, "application/json", "{}", "has none"},

		// The literal segments "counts" and "exist" win over {asset_id}.
		{"literal wins", "GET", "/api/assets/counts", 200, "application/json", page, ""},
		{"literal wins, asset body", "GET", "/api/assets/counts", 200, "application/json", `{"id":"asset_2222222222222222222222"}`, "missing properties"},
		{"parameter with an escaped slash", "GET", "/api/assets/a%2Fb", 404, "application/json", failed, ""},

		{"validation", "GET", "/api/assets", 422, "application/json", invalid, ""},
		{"validation without a place", "GET", "/api/assets", 422, "application/json", `{"detail":[{"msg":"no"}]}`, "missing properties"},
		{"error without detail", "GET", "/api/assets", 401, "application/json", `{"message":"no"}`, "detail"},

		{"seed page", "GET", "/api/assets", 200, "application/json", page, ""},
		{"page without has_more", "GET", "/api/assets", 200, "application/json", `{"data":[]}`, "has_more"},

		{"unknown route", "GET", "/api/nowhere", 404, "application/json", failed, ""},
		{"unknown route without the error body", "GET", "/api/nowhere", 404, "application/json", "{}", "detail"},
		{"unknown route that answers", "GET", "/api/nowhere", 200, "application/json", "{}", "no such operation"},
		{"unknown method", "PUT", "/api/assets", 405, "application/json", failed, ""},
		{"unknown method as text", "PUT", "/api/assets", 405, "text/plain", "no", "not documented"},
		{"405 of a known operation", "GET", "/api/assets", 405, "application/json", failed, "documents only"},
		{"too large", "POST", "/api/assets", 413, "application/json", failed, ""},
		{"too large as text", "POST", "/api/assets", 413, "text/plain", "no", "not documented"},
		{"internal error", "GET", "/api/assets", 500, "application/json", failed, ""},
		{"internal error without the error body", "GET", "/api/assets", 503, "application/json", `"no"`, "got string"},
		{"documented 507", "POST", "/api/assets", 507, "application/json", failed, ""},
		{"no path", "GET", "", 200, "application/json", "{}", "request target"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			if tt.contentType != "" {
				header.Set("Content-Type", tt.contentType)
			}
			err := d.CheckResponse(tt.method, tt.path, tt.status, header, []byte(tt.body))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && err == nil:
				t.Error("accepted")
			case tt.want != "" && !strings.Contains(err.Error(), tt.want):
				t.Errorf("error is %q, want %q in it", err, tt.want)
			}
		})
	}
}

// A seed client needs the flat fields of an asset, which the lean one may leave
// out; the list accepts both, but nothing between.
func TestSeedSchema(t *testing.T) {
	t.Parallel()
	d := contract(t)
	header := http.Header{"Content-Type": {"application/json"}}
	body := []byte(`{"data":[{"id":"asset_2222222222222222222222"}],"has_more":false}`)
	if err := d.CheckResponse("GET", "/api/assets", 200, header, body); err == nil {
		t.Error("accepted an asset of an id alone")
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	operations := contract(t).Operations()
	names := map[string]bool{}
	for _, o := range operations {
		names[o.Method+" "+o.Path] = true
		if o.ID == "" || len(o.Statuses()) == 0 {
			t.Errorf("%+v lacks an id or statuses", o)
		}
	}
	for _, want := range []string{"GET /api/assets", "POST /api/assets", "GET /api/tasks/", "DELETE /api/stacks/{stack_id}/assets"} {
		if !names[want] {
			t.Errorf("%s is not listed", want)
		}
	}
	if len(operations) != len(names) {
		t.Errorf("%d operations of %d names", len(operations), len(names))
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	const head = "openapi: 3.1.0\ncomponents:\n  schemas:\n    Error: {type: object}\n"
	for name, document := range map[string]string{
		"not YAML":           "a: [",
		"a list":             "- a",
		"no error schema":    "openapi: 3.1.0\npaths: {}\n",
		"no operations":      head + "paths: {}\n",
		"no responses":       head + "paths:\n  /a:\n    get: {}\n",
		"range of statuses":  head + "paths:\n  /a:\n    get:\n      responses:\n        4XX: {description: no}\n",
		"dangling response":  head + "paths:\n  /a:\n    get:\n      responses:\n        '200': {$ref: '#/components/responses/None'}\n",
		"foreign response":   head + "paths:\n  /a:\n    get:\n      responses:\n        '200': {$ref: 'other.yaml#/a'}\n",
		"circular responses": head + "  responses:\n    A: {$ref: '#/components/responses/A'}\npaths:\n  /a:\n    get:\n      responses:\n        '200': {$ref: '#/components/responses/A'}\n",
		"dangling schema":    head + "paths:\n  /a:\n    get:\n      responses:\n        '200':\n          content:\n            application/json: {schema: {$ref: '#/components/schemas/None'}}\n",
		"invalid schema":     head + "paths:\n  /a:\n    get:\n      responses:\n        '200':\n          content:\n            application/json: {schema: {type: text}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Load([]byte(document)); err == nil {
				t.Error("accepted")
			}
		})
	}
}
