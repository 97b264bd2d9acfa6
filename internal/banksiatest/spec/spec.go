// Package spec checks HTTP exchanges against an OpenAPI 3.1 document, so that no
// test can accept an answer that the contract does not promise.
//
// It knows what the contract of Banksia uses: path templates, responses by exact
// status, references, and JSON Schema 2020-12 for JSON bodies.
package spec

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// documentURL is the name under which schemas refer to the document; nothing is
// fetched from it.
const documentURL = "urn:openapi"

// errorSchema is the body of every answer of 4xx and 5xx that an operation does
// not describe itself.
const errorSchema = "/components/schemas/Error"

// methods are the operations that a path item may have.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// Document is an OpenAPI document that is ready to check answers. It may be used
// by several goroutines.
type Document struct {
	operations []Operation
	failure    *jsonschema.Schema // of an error that no operation documents
}

// Operation is a method of a path.
type Operation struct {
	ID     string // operationId
	Method string // upper case
	Path   string // template, for example /api/assets/{asset_id}

	responses map[int]response
}

// Statuses lists the documented statuses, smallest first.
func (o Operation) Statuses() []int {
	var statuses []int
	for status := range o.responses {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	return statuses
}

// response is what an operation may answer with a status: a schema for each media
// type, nil where there is none. No media type at all means an empty body.
type response map[string]*jsonschema.Schema

// Load reads an OpenAPI document in YAML or JSON and compiles its response
// schemas. An unresolvable reference or an invalid schema is an error.
func Load(document []byte) (*Document, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: checkDateTime})
	compiler.AssertFormat()
	if err := compiler.AddResource(documentURL, numbers(tree)); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	failure, err := compiler.Compile(documentURL + "#" + errorSchema)
	if err != nil {
		return nil, fmt.Errorf("schema of errors: %w", err)
	}
	d := &Document{failure: failure}
	paths, _ := tree["paths"].(map[string]any)
	for path, item := range paths {
		item, _ := item.(map[string]any)
		for _, method := range methods {
			operation, ok := item[method].(map[string]any)
			if !ok {
				continue
			}
			id, _ := operation["operationId"].(string)
			o := Operation{ID: id, Method: strings.ToUpper(method), Path: path}
			at := []string{"paths", path, method}
			if o.responses, err = compileResponses(compiler, tree, at); err != nil {
				return nil, fmt.Errorf("%s %s: %w", o.Method, path, err)
			}
			d.operations = append(d.operations, o)
		}
	}
	if len(d.operations) == 0 {
		return nil, errors.New("the OpenAPI document has no operations")
	}
	slices.SortFunc(d.operations, func(a, b Operation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	return d, nil
}

// Operations lists every operation by path, then method.
func (d *Document) Operations() []Operation { return slices.Clone(d.operations) }

// Find returns the operation that answers a method and a path without a query. A
// literal segment wins over a parameter; a trailing slash does not count.
func (d *Document) Find(method, path string) (Operation, bool) {
	var found *Operation
	for i := range d.operations {
		o := &d.operations[i]
		if o.Method == method && matches(o.Path, path) && (found == nil || moreLiteral(o.Path, found.Path)) {
			found = o
		}
	}
	if found == nil {
		return Operation{}, false
	}
	return *found, true
}

// CheckResponse returns an error that says how an answer differs from the
// document: an operation or a status that it does not have, another content type,
// or a body that does not fit its schema. The path may carry a query.
//
// Three kinds of answer need no documentation, since any server gives them, but
// must have the error body: 404 and 405 where there is no operation, 413 and 5xx
// everywhere.
func (d *Document) CheckResponse(method, path string, status int, header http.Header, body []byte) error {
	if err := d.check(method, path, status, header, body); err != nil {
		return fmt.Errorf("%s %s answered %d: %w", method, path, status, err)
	}
	return nil
}

func (d *Document) check(method, path string, status int, header http.Header, body []byte) error {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return fmt.Errorf("request target: %w", err)
	}
	common := response{"application/json": d.failure}
	operation, ok := d.Find(method, u.EscapedPath())
	if !ok {
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed || anywhere(status) {
			return common.check(header, body)
		}
		return errors.New("the document has no such operation")
	}
	documented, ok := operation.responses[status]
	switch {
	case ok:
		return documented.check(header, body)
	case anywhere(status):
		return common.check(header, body)
	}
	return fmt.Errorf("%s documents only the statuses %v", operation.ID, operation.Statuses())
}

// anywhere reports whether any operation may give a status.
func anywhere(status int) bool {
	return status == http.StatusRequestEntityTooLarge || status >= 500
}

func (r response) check(header http.Header, body []byte) error {
	if len(r) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("a body of %d bytes, where the document has none", len(body))
		}
		return nil
	}
	contentType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type %q: %w", header.Get("Content-Type"), err)
	}
	schema, ok := r[contentType]
	if !ok {
		major, _, _ := strings.Cut(contentType, "/")
		if schema, ok = r[major+"/*"]; !ok {
			schema, ok = r["*/*"]
		}
	}
	if !ok {
		return fmt.Errorf("Content-Type %s is not documented", contentType)
	}
	if contentType != "application/json" || schema == nil {
		return nil // other bodies are known by their type alone
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("body is not JSON: %w: %s", err, excerpt(body))
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("body: %w: %s", err, excerpt(body))
	}
	return nil
}

// compileResponses compiles the schemas of the operation at a place in the tree.
func compileResponses(compiler *jsonschema.Compiler, tree map[string]any, at []string) (map[int]response, error) {
	at = append(slices.Clone(at), "responses")
	responses, _ := descend(tree, at).(map[string]any)
	if len(responses) == 0 {
		return nil, errors.New("no responses")
	}
	compiled := make(map[int]response, len(responses))
	for name := range responses {
		status, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("status %q is not a number", name)
		}
		place, node, err := follow(tree, append(slices.Clone(at), name))
		if err != nil {
			return nil, err
		}
		compiled[status] = response{}
		content, _ := node["content"].(map[string]any)
		for contentType, media := range content {
			media, _ := media.(map[string]any)
			if media["schema"] == nil {
				compiled[status][contentType] = nil
				continue
			}
			pointer := documentURL + "#" + jsonPointer(append(slices.Clone(place), "content", contentType, "schema"))
			schema, err := compiler.Compile(pointer)
			if err != nil {
				return nil, fmt.Errorf("schema of %d: %w", status, err)
			}
			compiled[status][contentType] = schema
		}
	}
	return compiled, nil
}

// follow returns the object at a place, and its place, after following references.
func follow(tree map[string]any, at []string) ([]string, map[string]any, error) {
	const longest = 10 // a chain of references of this length goes in circles
	for range longest {
		node, ok := descend(tree, at).(map[string]any)
		if !ok {
			return nil, nil, fmt.Errorf("nothing at %s", jsonPointer(at))
		}
		reference, ok := node["$ref"].(string)
		if !ok {
			return at, node, nil
		}
		pointer, ok := strings.CutPrefix(reference, "#/")
		if !ok {
			return nil, nil, fmt.Errorf("reference %q leaves the document", reference)
		}
		at = strings.Split(pointer, "/")
		for i, name := range at {
			at[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		}
	}
	return nil, nil, fmt.Errorf("references go in circles at %s", jsonPointer(at))
}

func descend(tree any, at []string) any {
	for _, name := range at {
		object, _ := tree.(map[string]any)
		tree = object[name]
	}
	return tree
}

// jsonPointer writes a place as the fragment of a URL (RFC 6901, section 6).
func jsonPointer(at []string) string {
	var b strings.Builder
	for _, name := range at {
		name = strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		b.WriteString("/" + url.PathEscape(name))
	}
	return b.String()
}

// numbers gives the tree the types that the schema compiler expects: those of
// JSON, so float64 for every number.
func numbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, member := range value {
			object[name] = numbers(member)
		}
		return object
	case []any:
		array := make([]any, len(value))
		for i, member := range value {
			array[i] = numbers(member)
		}
		return array
	case int:
		return float64(value)
	case int64:
		return float64(value)
	case uint64:
		return float64(value)
	}
	return value
}

// matches reports whether an escaped path fits a template.
func matches(template, path string) bool {
	names, segments := split(template), split(path)
	if len(names) != len(segments) {
		return false
	}
	for i, name := range names {
		if segments[i] == "" || !parameter(name) && name != segments[i] {
			return false
		}
	}
	return true
}

// moreLiteral reports whether template a has a literal where b, which fits the
// same path, first has a parameter.
func moreLiteral(a, b string) bool {
	as, bs := split(a), split(b)
	for i := range as {
		if parameter(as[i]) != parameter(bs[i]) {
			return parameter(bs[i])
		}
	}
	return false
}

func split(path string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
}

func parameter(name string) bool {
	return strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}")
}

func excerpt(body []byte) string {
	const most = 2000 // enough to see an asset
	if len(body) > most {
		return string(body[:most]) + "…"
	}
	return string(body)
}
