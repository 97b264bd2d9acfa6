package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/banksia-photos/banksia/internal/search"
)

var sqliteDialect = dialect{
	schema: strings.NewReplacer(
		"{{without_rowid}}", " WITHOUT ROWID",
		"{{serial_key}}", "INTEGER PRIMARY KEY",
		// The words are folded and cut already; the prefixes make unfinished words fast.
		"{{search_index}}", `CREATE VIRTUAL TABLE search_index USING fts5(scope, words, content='', contentless_delete=1, prefix='2 3 4', tokenize='unicode61 remove_diacritics 0');`,
	),
	script: func(ctx context.Context, c *conn, text string) error {
		_, err := c.ExecContext(ctx, text)
		return err
	},
	beginRead:  "BEGIN",
	beginWrite: "BEGIN IMMEDIATE",
	stream:     func(text, _ string) string { return text },
	// A limit, even one that cannot be reached, is what SQLite does not look behind.
	merged: func(order string) string { return order + " LIMIT 9223372036854775807" },
	columns: `SELECT m.name, c.name, UPPER(c.type) FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'search\_index%' ESCAPE '\' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name, c.cid`,
	addToSearch:    `INSERT INTO search_index (rowid, scope, words) VALUES ($1, $2, $3)`,
	dropFromSearch: `DELETE FROM search_index WHERE rowid = $1`,
	searchValues:   func(scope, words string) []any { return []any{scope, words} },
	unindexed: `SELECT (SELECT COUNT(*) FROM search_documents WHERE document NOT IN (SELECT id FROM search_index_docsize)) +
		(SELECT COUNT(*) FROM search_index_docsize WHERE id NOT IN (SELECT document FROM search_documents))`,
	matches: func(_ *Tx, scope string, terms []search.Term, limit int) (string, []any, error) {
		// Words hold letters and digits only, so quotes need no escape.
		text := `scope : "` + scope + `"`
		for _, term := range terms {
			text += ` AND words : "` + strings.Join(term.Words, " ") + `"`
			if term.Prefix {
				text += " *"
			}
		}
		return `SELECT rowid AS document FROM search_index WHERE search_index MATCH $1 ORDER BY rowid DESC LIMIT $2`, []any{text, limit}, nil
	},
	integrity: `PRAGMA quick_check`,
	load:      insertRows,
	emptyTables: func(names []string) string {
		return `INSERT INTO search_index (search_index) VALUES ('delete-all'); DELETE FROM ` + strings.Join(names, `; DELETE FROM `) + `;`
	},
	sealTable: `CREATE TRIGGER sealed_insert_{{table}} BEFORE INSERT ON {{table}} BEGIN SELECT RAISE(ABORT, 'banksia: sealed'); END;
		CREATE TRIGGER sealed_update_{{table}} BEFORE UPDATE ON {{table}} BEGIN SELECT RAISE(ABORT, 'banksia: sealed'); END;
		CREATE TRIGGER sealed_delete_{{table}} BEFORE DELETE ON {{table}} BEGIN SELECT RAISE(ABORT, 'banksia: sealed'); END;`,
	trouble: func(err error) trouble {
		e, ok := errors.AsType[*sqlite.Error](err)
		if !ok {
			return otherTrouble
		}
		switch code := e.Code(); {
		case strings.Contains(e.Error(), "banksia: sealed"):
			return sealed
		case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return duplicate
		case code&0xff == sqlite3.SQLITE_FULL:
			return full
		case code&0xff == sqlite3.SQLITE_BUSY: // another process writes
			return busy
		case code&0xff == sqlite3.SQLITE_READONLY:
			return readOnly
		// The disk is broken, or away. That a page cannot be read is "corrupt" as well.
		case code&0xff == sqlite3.SQLITE_IOERR, code&0xff == sqlite3.SQLITE_CANTOPEN, code&0xff == sqlite3.SQLITE_CORRUPT:
			return unreachable
		}
		return otherTrouble
	},
}

// openSQLite opens the pools of a database file. One connection writes.
func (s *Store) openSQLite(cfg Config) error {
	s.dialect = sqliteDialect
	s.dialect.snapshot = snapshotFile(cfg.Path)
	// synchronous(FULL): an acknowledged upload survives a power cut.
	writer, err := sqlitePool(cfg.Path, 1, s.dialect.beginWrite, "_pragma=synchronous(FULL)", "_pragma=cache_size(-16000)")
	if err != nil {
		return err
	}
	s.writer = writer
	s.readers, err = sqlitePool(cfg.Path, cfg.Readers, s.dialect.beginRead, "_pragma=query_only(1)", "_pragma=cache_size(-8000)")
	return err
}

func sqlitePool(path string, connections int, begin string, options ...string) (*pool, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)"
	for _, option := range options {
		dsn += "&" + option
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return newPool(db, connections, begin), nil
}
