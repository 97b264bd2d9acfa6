package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// pool lends connections that keep their prepared statements. database/sql's own
// pool forgets which connection has prepared what, and preparing a list query
// costs more than running it.
type pool struct {
	db    *sql.DB
	begin string // the statement that opens a transaction
	idle  chan *conn
}

// conn is one connection, used by one transaction at a time.
type conn struct {
	*sql.Conn
	statements map[string]*sql.Stmt
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

// drop closes a connection whose state is unknown and makes room for a new one.
func (p *pool) drop(c *conn) {
	c.Raw(func(any) error { return driver.ErrBadConn }) // not back into database/sql's pool
	c.Close()
	p.idle <- nil
}

func (p *pool) close() error { return p.db.Close() }

func (c *conn) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if statement := c.statements[text]; statement != nil {
		return statement, nil
	}
	if len(c.statements) >= maxStatements {
		for _, statement := range c.statements {
			statement.Close()
		}
		clear(c.statements)
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
