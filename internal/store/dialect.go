package store

import (
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/banksia-photos/banksia/internal/search"
)

// dialect holds every difference between the engines. SQLite is the one built
// in; PostgreSQL needs another value of this struct and no other code.
type dialect struct {
	// withoutRowID ends the definition of a table that is stored in the order
	// of its primary key.
	withoutRowID string
	// serialKey is the type of a primary key that the engine numbers, rising.
	serialKey string
	// searchIndex makes the full-text index of search_documents.
	searchIndex string
	// addToSearch and dropFromSearch keep the index in step with a document ($1),
	// its scope ($2) and its words ($3).
	addToSearch, dropFromSearch string
	// searchMatches selects the documents of an expression ($1), the newest first,
	// up to a number ($2).
	searchMatches string
	// searchExpression is the expression for a term within a scope, or for several
	// terms that must all be there.
	searchExpression func(scope string, terms []search.Term) string
	// isUnique tells whether an error is a violation of a unique index.
	isUnique func(error) bool
	// isFull tells whether the storage of the database has no room left.
	isFull func(error) bool
}

var sqliteDialect = dialect{
	withoutRowID: " WITHOUT ROWID",
	serialKey:    "INTEGER PRIMARY KEY",
	// The words are folded and cut already; the prefixes make unfinished words fast.
	searchIndex:    `CREATE VIRTUAL TABLE search_index USING fts5(scope, words, content='', contentless_delete=1, prefix='2 3 4', tokenize='unicode61 remove_diacritics 0');`,
	addToSearch:    `INSERT INTO search_index (rowid, scope, words) VALUES ($1, $2, $3)`,
	dropFromSearch: `DELETE FROM search_index WHERE rowid = $1`,
	searchMatches:  `SELECT rowid AS document FROM search_index WHERE search_index MATCH $1 ORDER BY rowid DESC LIMIT $2`,
	searchExpression: func(scope string, terms []search.Term) string {
		// Words hold letters and digits only, so quotes need no escape.
		text := `scope : "` + scope + `"`
		for _, term := range terms {
			text += ` AND words : "` + strings.Join(term.Words, " ") + `"`
			if term.Prefix {
				text += " *"
			}
		}
		return text
	},
	isUnique: func(err error) bool {
		code, ok := sqliteCode(err)
		return ok && (code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
	},
	isFull: func(err error) bool {
		code, ok := sqliteCode(err)
		return ok && code&0xff == sqlite3.SQLITE_FULL
	},
}

func sqliteCode(err error) (int, bool) {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code(), true
	}
	return 0, false
}

// schema fills the few engine-specific words of a migration.
func (d dialect) schema(text string) string {
	return strings.NewReplacer("{{without_rowid}}", d.withoutRowID, "{{serial_key}}", d.serialKey, "{{search_index}}", d.searchIndex).Replace(text)
}
