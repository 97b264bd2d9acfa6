package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/banksia-photos/banksia"
)

// Paging is what every list of the contract has in common, with IDs of type T.
type Paging[T ~[16]byte] struct {
	IDs           []T // only these, up to 200; nil: no filter
	StartingAfter *T  // the last of the previous page
	Limit         int
}

// fence is a subquery that SQLite does not look through to the tables in it, since
// it has a limit. Without statistics the planner would rather walk a whole library
// than look up the few rows that are asked for.
func fence(query string) string { return "(" + query + " LIMIT 1000000000)" }

// rows is the table, or the rows of it that the IDs name, as r.
func (p *Paging[T]) rows(q *query, table string) string {
	if p.IDs == nil {
		return table + " r"
	}
	if len(p.IDs) == 0 {
		return fence("SELECT * FROM "+table+" WHERE FALSE") + " r"
	}
	return fence("SELECT * FROM "+table+" WHERE id IN ("+list(q, p.IDs)+")") + " r"
}

// newestFirst is the end of a query for a page of rows r of a library, one more
// than the limit: the newest created come first. A cursor that is no row of the
// library is a validation error.
func newestFirst[T ~[16]byte](tx *Tx, q *query, p Paging[T], table string, library banksia.LibraryID, conditions []string) (string, error) {
	if p.StartingAfter != nil {
		var created int64
		err := tx.QueryRow(`SELECT created_at FROM `+table+` WHERE id = $1 AND library_id = $2`, *p.StartingAfter, library).Scan(&created)
		if errors.Is(err, sql.ErrNoRows) {
			return "", unknownCursor()
		}
		if err != nil {
			return "", fmt.Errorf("find cursor: %w", err)
		}
		conditions = append(conditions, "(r.created_at, r.id) < ("+q.arg(created)+", "+q.arg(*p.StartingAfter)+")")
	}
	return " WHERE " + strings.Join(append([]string{"TRUE"}, conditions...), " AND ") + " ORDER BY r.created_at DESC, r.id DESC LIMIT " + q.arg(p.Limit+1), nil
}

// unknownCursor says that the cursor of a list names nothing in it (behaviour
// 21.6).
func unknownCursor() error {
	return banksia.Invalid("query", "starting_after_id", "nothing with this ID is in the library")
}

// cut drops the row beyond the limit and tells whether there was one.
func cut[R any](rows []R, limit int) ([]R, bool) {
	if len(rows) > limit {
		return rows[:limit], true
	}
	return rows, false
}
