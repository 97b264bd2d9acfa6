package store

import (
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect holds every difference between the engines. SQLite is the one built
// in; PostgreSQL needs another value of this struct and no other code.
type dialect struct {
	// withoutRowID ends the definition of a table that is stored in the order
	// of its primary key.
	withoutRowID string
	// isUnique tells whether an error is a violation of a unique index.
	isUnique func(error) bool
	// isFull tells whether the storage of the database has no room left.
	isFull func(error) bool
}

var sqliteDialect = dialect{
	withoutRowID: " WITHOUT ROWID",
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
	return strings.ReplaceAll(text, "{{without_rowid}}", d.withoutRowID)
}
