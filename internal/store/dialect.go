package store

import (
	"context"
	"strings"

	"github.com/banksia-photos/banksia/internal/search"
)

// dialect holds every difference between the engines: one value for each, in
// sqlite.go and postgres.go. All other SQL means the same on both.
type dialect struct {
	// schema fills the few engine-specific words of a migration:
	// {{without_rowid}} ends the definition of a table that is stored in the order
	// of its primary key, {{serial_key}} is the type of a primary key that the
	// engine numbers, rising, and {{search_index}} makes the full-text index of
	// search_documents.
	schema *strings.Replacer
	// script runs several statements separated by semicolons.
	script func(ctx context.Context, c *conn, text string) error

	// beginRead and beginWrite open transactions; all reads of one see one state.
	beginRead, beginWrite string
	// lock waits until no other transaction holds the turn of a key ($1) and holds
	// it until the end of this one; "" where beginWrite excludes all others.
	lock string
	// claimable ends a query of rows that other transactions may have taken: it
	// takes those that are free and leaves out the others.
	claimable string
	// lockRows ends a query of rows that must stay as they are until the end of the
	// transaction: it waits for others that are changing them.
	lockRows string

	// stream is a SELECT that is one of several in a UNION ALL, each read in an order.
	// merged ends the UNION ALL, or a single stream, in that order, inside of a query
	// that takes the first rows: the streams are to be read only so far, and the
	// conditions of that query are not to be moved into them.
	stream func(text, order string) string
	merged func(order string) string

	// columns selects table, name and type of the columns of all tables but the
	// full-text index, in their order.
	columns string

	// addToSearch and dropFromSearch keep the index in step with a document ($1)
	// and what searchValues gives for it ($2 and on).
	addToSearch, dropFromSearch string
	// searchValues are what the index keeps of the words of a document in a scope.
	searchValues func(scope, words string) []any
	// unindexed counts the documents that are not in the index, and what is in it
	// without a document.
	unindexed string
	// matches makes a query of the documents in a scope that have all terms, the
	// newest first, up to a number.
	matches func(tx *Tx, scope string, terms []search.Term, limit int) (text string, args []any, err error)

	// clock selects the time of the server in microseconds; "" where it is this process's.
	clock string
	// integrity selects a sentence for each damage of the files of the database, or
	// the one word ok; "" where the engine has no such query.
	integrity string

	// load writes many rows, of values as scanRow returns them.
	load func(tx *Tx, table string, columns []Column, rows [][]any) error
	// afterLoad is a script for when all tables have been loaded.
	afterLoad string
	// emptyTables is a script that removes all rows of tables, each before those that
	// its rows refer to, and of the index.
	emptyTables func(names []string) string
	// takeTime is a script that lifts, for this transaction, the limits of time that
	// the server has for others; "" where it has none.
	takeTime string
	// closeTables keeps other transactions from changing tables (%s: their names)
	// until the end of this one; "" where beginWrite does.
	closeTables string
	// snapshot writes everything into a new SQLite file.
	snapshot func(ctx context.Context, s *Store, path string, progress func(step, table string, done, total int64)) error
	// sealTable makes all later changes of {{table}} fail with the trouble sealed.
	sealTable string

	// trouble tells what kind of error of the engine this is.
	trouble func(error) trouble
	// usable says what is wrong with how the database was made. advice is what to do
	// about an error while it is opened; "" where the error says that.
	usable func(*Tx) error
	advice func(error) string
}

// trouble is what an error of an engine means to its callers.
type trouble int

const (
	otherTrouble trouble = iota
	duplicate            // a unique index has the value already
	full                 // the storage of the database has no room left
	readOnly             // the database can be read but not written now
	busy                 // other transactions are in the way; a repeat may help
	sealed               // everything was moved to another database
	unreachable          // the connection ended or cannot be made; a repeat may help
	noText               // a text holds what the engine cannot keep
)
