package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Coverage remembers what of a document was exercised against a server: every
// operation with every parameter, field of a request, and status, and every field
// of a response with a value. It may be used by several goroutines.
type Coverage struct {
	document *Document
	tree     map[string]any
	mu       sync.Mutex
	seen     map[string]bool
}

// NewCoverage prepares to watch the exchanges of a document.
func NewCoverage(document []byte, d *Document) (*Coverage, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	return &Coverage{document: d, tree: tree, seen: map[string]bool{}}, nil
}

// Names of what can be exercised.
func statusOf(operation string, status int) string {
	return fmt.Sprintf("%s: status %d", operation, status)
}
func inputOf(operation, name string) string { return operation + ": input " + name }
func fieldOf(schema, name string) string    { return schema + ": field " + name }

// Record notes an exchange. Inputs count where the server understood them: in what
// it accepted, and in a bad request, which is what some inputs are there for.
func (c *Coverage) Record(request *http.Request, path string, requestBody []byte, status int, body []byte) {
	operation, ok := c.document.Find(request.Method, path)
	if !ok {
		return
	}
	var names []string
	if status < 300 || status == http.StatusBadRequest {
		for name, values := range request.URL.Query() {
			if slices.ContainsFunc(values, func(value string) bool { return value != "" }) {
				names = append(names, name)
			}
		}
		names = append(names, bodyFields(request.Header.Get("Content-Type"), requestBody)...)
	}
	fields := map[string]bool{}
	var value any
	if status < 300 && json.Unmarshal(body, &value) == nil {
		for _, schema := range c.schemas(operation, status) {
			c.walk(schema, operation.ID, value, fields)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[statusOf(operation.ID, status)] = true
	for _, name := range names {
		c.seen[inputOf(operation.ID, strings.TrimSuffix(name, "[]"))] = true
	}
	for name := range fields {
		c.seen[name] = true
	}
}

// bodyFields are the top-level fields of a body that have a value.
func bodyFields(contentType string, body []byte) (names []string) {
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
	case mediaType == "multipart/form-data":
		reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
		for {
			part, err := reader.NextRawPart()
			if err != nil {
				return names
			}
			if content, err := io.ReadAll(part); err == nil && len(content) > 0 {
				names = append(names, part.FormName())
			}
		}
	default:
		var object map[string]any
		if json.Unmarshal(body, &object) == nil {
			for name, value := range object {
				if value != nil {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func (c *Coverage) operation(o Operation) map[string]any {
	operation, _ := descend(c.tree, []string{"paths", o.Path, strings.ToLower(o.Method)}).(map[string]any)
	return operation
}

// schemas are those of the JSON bodies that an operation answers with a status.
func (c *Coverage) schemas(o Operation, status int) (schemas []map[string]any) {
	_, response, err := follow(c.tree, []string{"paths", o.Path, strings.ToLower(o.Method), "responses", fmt.Sprint(status)})
	if err != nil {
		return nil
	}
	if schema, ok := descend(response, []string{"content", "application/json", "schema"}).(map[string]any); ok {
		schemas = append(schemas, schema)
	}
	return schemas
}

// resolve follows the reference of a schema and returns its name.
func (c *Coverage) resolve(schema map[string]any, name string) (map[string]any, string) {
	reference, ok := schema["$ref"].(string)
	if !ok {
		return schema, name
	}
	name = reference[strings.LastIndex(reference, "/")+1:]
	target, _ := descend(c.tree, strings.Split(strings.TrimPrefix(reference, "#/"), "/")).(map[string]any)
	return target, name
}

// walk notes the fields of a value that its schema names.
func (c *Coverage) walk(schema map[string]any, name string, value any, fields map[string]bool) {
	schema, name = c.resolve(schema, name)
	for _, of := range []string{"anyOf", "oneOf", "allOf"} {
		options, _ := schema[of].([]any)
		for _, option := range options {
			if option, ok := option.(map[string]any); ok {
				c.walk(option, name, value, fields)
			}
		}
	}
	switch value := value.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for _, item := range value {
				c.walk(items, name, item, fields)
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for field, member := range value {
			if property, ok := properties[field].(map[string]any); ok && member != nil {
				fields[fieldOf(name, field)] = true
				c.walk(property, name+"."+field, member, fields)
			} else if more, ok := schema["additionalProperties"].(map[string]any); ok && member != nil {
				c.walk(more, name, member, fields)
			}
		}
	}
}

// expect collects the fields that a schema promises.
func (c *Coverage) expect(schema map[string]any, name string, fields, visited map[string]bool) {
	_, reference := schema["$ref"]
	schema, name = c.resolve(schema, name)
	if reference {
		if visited[name] {
			return
		}
		visited[name] = true
	}
	for _, of := range []string{"anyOf", "oneOf", "allOf"} {
		options, _ := schema[of].([]any)
		for _, option := range options {
			if option, ok := option.(map[string]any); ok {
				c.expect(option, name, fields, visited)
			}
		}
	}
	for _, of := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[of].(map[string]any); ok {
			c.expect(inner, name, fields, visited)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for field, property := range properties {
		if property, ok := property.(map[string]any); ok {
			fields[fieldOf(name, field)] = true
			c.expect(property, name+"."+field, fields, visited)
		}
	}
}

// Missing lists what the document names and nothing has exercised, sorted.
func (c *Coverage) Missing() (missing []string) {
	wanted := map[string]bool{}
	visited := map[string]bool{}
	for _, o := range c.document.Operations() {
		operation := c.operation(o)
		for _, status := range o.Statuses() {
			wanted[statusOf(o.ID, status)] = true
			if status < 300 {
				for _, schema := range c.schemas(o, status) {
					c.expect(schema, o.ID, wanted, visited)
				}
			}
		}
		parameters, _ := operation["parameters"].([]any)
		for _, parameter := range parameters {
			parameter, _ := parameter.(map[string]any)
			if parameter["in"] == "query" {
				wanted[inputOf(o.ID, fmt.Sprint(parameter["name"]))] = true
			}
		}
		content, _ := descend(operation, []string{"requestBody", "content"}).(map[string]any)
		for _, media := range content {
			schema, _ := descend(media, []string{"schema"}).(map[string]any)
			schema, _ = c.resolve(schema, "")
			properties, _ := schema["properties"].(map[string]any)
			for name := range properties {
				wanted[inputOf(o.ID, name)] = true
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range wanted {
		if !c.seen[name] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// Parameters describes the inputs of an operation for tests that are made from the
// document.
type Parameters struct {
	Query      map[string]map[string]any // schemas by name
	Required   []string                  // of the query
	Body       map[string]any            // the schema of a JSON body; nil: none
	Multipart  bool
	Form       map[string]any // the schemas of a multipart body's parts by name
	PathValues []string       // names
}

// Inputs describes the inputs of an operation.
func (c *Coverage) Inputs(o Operation) Parameters {
	p := Parameters{Query: map[string]map[string]any{}}
	operation := c.operation(o)
	parameters, _ := operation["parameters"].([]any)
	for _, parameter := range parameters {
		parameter, _ := parameter.(map[string]any)
		name := fmt.Sprint(parameter["name"])
		schema, _ := parameter["schema"].(map[string]any)
		switch parameter["in"] {
		case "query":
			p.Query[name] = schema
			if parameter["required"] == true {
				p.Required = append(p.Required, name)
			}
		case "path":
			p.PathValues = append(p.PathValues, name)
		}
	}
	content, _ := descend(operation, []string{"requestBody", "content"}).(map[string]any)
	if schema, ok := descend(content, []string{"application/json", "schema"}).(map[string]any); ok {
		p.Body, _ = c.resolve(schema, "")
	}
	if schema, ok := descend(content, []string{"multipart/form-data", "schema"}).(map[string]any); ok {
		p.Multipart = true
		schema, _ = c.resolve(schema, "")
		p.Form, _ = schema["properties"].(map[string]any)
	}
	return p
}

// Target fills the template of an operation's path.
func (o Operation) Target(values map[string]string) string {
	path := o.Path
	for name, value := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	return path
}
