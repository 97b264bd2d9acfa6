package store

import (
	"database/sql"
	"fmt"
)

// Column is a column of a table, of a type that all engines have.
type Column struct {
	Table, Name string
	Type        string // BIGINT, BOOLEAN, BYTEA, DOUBLE PRECISION or TEXT
}

// Columns reads the columns of all tables but the full-text index, table by table
// in their order.
func (tx *Tx) Columns() (columns []Column, err error) {
	err = tx.each(tx.store.dialect.columns, nil, func(rows *sql.Rows) error {
		var c Column
		err := rows.Scan(&c.Table, &c.Name, &c.Type)
		if c.Type == "INTEGER" { // of a key that SQLite numbers
			c.Type = "BIGINT"
		}
		columns = append(columns, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns: %w", err)
	}
	return columns, nil
}
