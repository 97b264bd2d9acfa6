package store

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// query collects the arguments of a statement while its text is put together.
// Only fixed text is ever concatenated; whatever comes from outside is an
// argument.
type query struct{ args []any }

// arg adds an argument and returns its placeholder.
func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

// list adds arguments and returns their placeholders, separated by commas.
func list[T any](q *query, values []T) string {
	text := ""
	for i, value := range values {
		if i > 0 {
			text += ", "
		}
		text += q.arg(value)
	}
	return text
}

// isText tells whether a text can be in a row; no engine finds another, and some
// fail on it.
func isText(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }
