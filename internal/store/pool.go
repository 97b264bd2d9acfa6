package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
)

// pool lends connections that keep their prepared statements. database/sql's own
// pool forgets which connection has prepared what, and preparing a list query
// costs more than running it.
type pool struct {
	db    *sql.DB
	begin string // the statement that opens a transaction
	// renew ends a transaction and opens the next, on connections that wait inside of
	// one: its round trips are none that somebody waits for. "": they do not.
	renew    string
	renewing sync.WaitGroup
	idle     chan *conn
}

// conn is one connection, used by one transaction at a time.
type conn struct {
	*sql.Conn
	statements map[string]*sql.Stmt
	begun      bool // inside of a transaction that has done nothing yet
}

// maxStatements bounds the prepared statements of a connection: the list builder
// makes a text for each combination of filters.
const maxStatements = 256

func newPool(db *sql.DB, connections int, begin string) *pool {
	p := &pool{db: db, begin: begin, idle: make(chan *conn, connections)}
	for range connections {
		p.idle <- nil // opened when first taken
	}
	return p
}

// take waits for a connection.
func (p *pool) take(ctx context.Context) (*conn, error) {
	select {
	case c := <-p.idle:
		if c != nil {
			return c, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	raw, err := p.db.Conn(ctx)
	if err != nil {
		p.idle <- nil
		return nil, err
	}
	return &conn{Conn: raw, statements: map[string]*sql.Stmt{}}, nil
}

// give takes a connection back.
func (p *pool) give(c *conn) { p.idle <- c }

// giveRenewed ends the transaction of a connection, opens the next one and takes the
// connection back, while nobody waits.
func (p *pool) giveRenewed(ctx context.Context, c *conn) {
	p.renewing.Go(func() {
		if c.exec(context.WithoutCancel(ctx), p.renew) != nil {
			p.drop(c)
			return
		}
		c.begun = true
		p.give(c)
	})
}

// drop closes a connection whose state is unknown and makes room for a new one.
func (p *pool) drop(c *conn) {
	c.finalize()
	c.Raw(func(any) error { return driver.ErrBadConn }) // not back into database/sql's pool
	c.Close()
	p.idle <- nil
}

// close ends the connections that nobody uses; the last one of a SQLite database
// also takes its log back into the file. Those in use end when they come back.
func (p *pool) close() error {
	p.renewing.Wait()
	var errs []error
	taken := 0
	for empty := false; !empty; {
		select {
		case c := <-p.idle:
			taken++
			if c != nil {
				c.finalize()
				errs = append(errs, c.Close())
			}
		default:
			empty = true
		}
	}
	errs = append(errs, p.db.Close())
	for range taken { // so that whoever still comes learns that it is closed
		p.idle <- nil
	}
	return errors.Join(errs...)
}

// finalize closes the prepared statements. SQLite keeps a closed connection, and a
// transaction that is open on it, for as long as one of them is left.
func (c *conn) finalize() {
	for _, statement := range c.statements {
		statement.Close()
	}
	clear(c.statements)
}

func (c *conn) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if statement := c.statements[text]; statement != nil {
		return statement, nil
	}
	if len(c.statements) >= maxStatements {
		c.finalize()
	}
	statement, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.statements[text] = statement
	return statement, nil
}

func (c *conn) exec(ctx context.Context, text string) error {
	statement, err := c.prepare(ctx, text)
	if err != nil {
		return err
	}
	_, err = statement.ExecContext(ctx)
	return err
}
