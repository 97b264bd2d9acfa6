package store

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
)

// administer runs statements on the server of a database, from another of its
// databases. {{name}} stands for the name of the database.
func administer(t *testing.T, database string, statements ...string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	c, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, text := range statements {
		if _, err := c.Exec(t.Context(), strings.ReplaceAll(text, "{{name}}", name)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// What happens to a PostgreSQL server is nobody's mistake, and a store that has it
// open tells its callers to repeat, and works again once it is over.
func TestTroubleOfPostgres(t *testing.T) {
	t.Parallel()
	const disconnect = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{{name}}'`
	for name, c := range map[string]struct {
		begin, end  []string
		read, write banksia.Code // "": it works
	}{
		"connections end":      {begin: []string{disconnect}},
		"none are accepted":    {[]string{`ALTER DATABASE {{name}} ALLOW_CONNECTIONS false`, disconnect}, []string{`ALTER DATABASE {{name}} ALLOW_CONNECTIONS true`}, banksia.CodeStorage, banksia.CodeStorage},
		"the database is gone": {[]string{`ALTER DATABASE {{name}} ALLOW_CONNECTIONS false`, disconnect, `ALTER DATABASE {{name}} RENAME TO {{name}}_away`}, []string{`ALTER DATABASE {{name}}_away RENAME TO {{name}}`, `ALTER DATABASE {{name}} ALLOW_CONNECTIONS true`}, banksia.CodeStorage, banksia.CodeStorage},
		"statements time out":  {[]string{`ALTER DATABASE {{name}} SET statement_timeout = '200ms'`, disconnect}, []string{`ALTER DATABASE {{name}} RESET statement_timeout`, disconnect}, banksia.CodeUnavailable, banksia.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := emptyPostgres(t)
			cfg.Readers = 2
			s := openWith(t, cfg)
			text := `SELECT 1`
			if strings.Contains(name, "time out") {
				text = `SELECT 1 FROM pg_sleep(5)`
			}
			query := func(tx *Tx) error {
				_, err := tx.exists(text)
				return err
			}
			expect := func(when string, err error, code banksia.Code) {
				t.Helper()
				if code == "" && err == nil {
					return
				}
				if e, ok := errors.AsType[*banksia.Error](err); !ok || e.Code != code || e.Retry == 0 {
					t.Errorf("%s: %v, want a repeatable %q", when, err, code)
				}
			}
			administer(t, cfg.URL, c.begin...)
			for range 3 {
				expect("reading", s.Read(t.Context(), query), c.read)
				expect("writing", s.Write(t.Context(), query), c.write)
			}
			administer(t, cfg.URL, c.end...)
			text = `SELECT 1`
			if err := errors.Join(s.Read(t.Context(), query), s.Write(t.Context(), query)); err != nil {
				t.Errorf("when it is over: %v", err)
			}
		})
	}
}

// A writer that stops in the middle, because its node was paused or cut off, does not
// keep others waiting for long; readers wait inside of transactions as long as they
// like.
func TestIdleTransactions(t *testing.T) {
	t.Parallel()
	cfg := emptyPostgres(t)
	administer(t, cfg.URL, `ALTER DATABASE {{name}} SET idle_in_transaction_session_timeout = '10s'`)
	s := openWith(t, cfg)
	var writer, reader string
	show := func(to *string) func(*Tx) error {
		return func(tx *Tx) error { return tx.QueryRow(`SHOW idle_in_transaction_session_timeout`).Scan(to) }
	}
	if err := errors.Join(s.Write(t.Context(), show(&writer)), s.Read(t.Context(), show(&reader))); err != nil || writer != "20s" || reader != "0" {
		t.Errorf("writers may idle for %s, readers for %s, %v", writer, reader, err)
	}
	cfg.URL += "&idle_in_transaction_session_timeout=100ms"
	paused := openWith(t, cfg)
	err := paused.Write(t.Context(), func(tx *Tx) error {
		var process int
		if err := tx.QueryRow(`SELECT pg_backend_pid()`).Scan(&process); err != nil {
			return err
		}
		for running := true; running; { // until the server has ended it
			err := s.Read(t.Context(), func(tx *Tx) (err error) {
				running, err = tx.exists(`SELECT 1 FROM pg_stat_activity WHERE pid = $1`, process)
				return err
			})
			if err != nil {
				t.Error(err)
				return nil
			}
		}
		_, err := tx.Exec(`UPDATE users SET email = email`)
		return err
	})
	if e, ok := errors.AsType[*banksia.Error](err); !ok || e.Code != banksia.CodeStorage || e.Retry == 0 {
		t.Errorf("a writer that stood still for too long: %v", err)
	}
	if err := paused.Write(t.Context(), func(*Tx) error { return nil }); err != nil {
		t.Errorf("the next writer: %v", err)
	}
}

// A standby answers reads; changes are to be repeated.
func TestReadOnlyPostgres(t *testing.T) {
	t.Parallel()
	s := openWith(t, emptyPostgres(t))
	err := s.Write(t.Context(), func(tx *Tx) error {
		if _, err := tx.Exec(`SET TRANSACTION READ ONLY`); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM tasks`)
		return err
	})
	if e, ok := errors.AsType[*banksia.Error](err); !ok || e.Code != banksia.CodeStorage || e.Retry == 0 {
		t.Errorf("a change: %v", err)
	}
}

// Transactions that wait for each other in a circle are ended by the server; whoever
// is chosen repeats.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	s := openWith(t, emptyPostgres(t))
	err := s.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('a', $1), ('b', $1)`, []byte{0})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	both, ends := [2]chan bool{make(chan bool), make(chan bool)}, make(chan error)
	for i, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		go func() {
			ends <- s.ChangeAll(ctx, nil, func(tx *Tx) error {
				_, err := tx.Exec(`UPDATE settings SET value = $1 WHERE name = $2`, []byte{1}, names[0])
				if err != nil {
					return err
				}
				close(both[i])
				<-both[1-i]
				_, err = tx.Exec(`UPDATE settings SET value = $1 WHERE name = $2`, []byte{1}, names[1])
				return err
			})
		}()
	}
	first, second := <-ends, <-ends
	if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), ErrBusy) {
		t.Errorf("the two ended with %v and %v", first, second)
	}
}

// A database that cannot hold every text is refused before anything is in it.
func TestUnusablePostgres(t *testing.T) {
	t.Parallel()
	whole := services.Postgres(t, nil)
	for parameter, want := range map[string]string{"search_path=nothere": "search_path"} {
		_, err := Open(t.Context(), Config{URL: whole + "&" + parameter})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", parameter, err)
		}
	}
	administer(t, whole, `CREATE ROLE {{name}}_guest LOGIN`)
	defer administer(t, whole, `DROP ROLE {{name}}_guest`)
	u, err := url.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{URL: strings.Replace(whole, "user=banksia", "user="+strings.TrimPrefix(u.Path, "/")+"_guest", 1)}); err == nil || !strings.Contains(err.Error(), "must be allowed to make tables") {
		t.Errorf("without rights: %v", err)
	}
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		name := "{{name}}_" + strings.ToLower(encoding)
		administer(t, whole, `CREATE DATABASE `+name+` ENCODING '`+encoding+`' LOCALE 'C' TEMPLATE template0`)
		defer administer(t, whole, `DROP DATABASE `+name+` WITH (FORCE)`)
		other := *u
		other.Path += "_" + strings.ToLower(encoding)
		if _, err := Open(t.Context(), Config{URL: other.String()}); err == nil || !strings.Contains(err.Error(), encoding) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

// Nodes of a new version that start at once on an older database bring it up to date
// together: each step is done once.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	cfg := emptyPostgres(t)
	old, err := connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := old.migrate(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	var starting sync.WaitGroup
	for range 6 {
		starting.Go(func() {
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if problems, err := s.Check(t.Context()); err != nil || len(problems) > 0 {
				t.Errorf("the database is not sound: %q, %v", problems, err)
			}
		})
	}
	starting.Wait()
	err = old.Read(t.Context(), func(tx *Tx) error {
		var steps, newest int
		err := tx.QueryRow(`SELECT COUNT(*), MAX(version) FROM schema_migrations`).Scan(&steps, &newest)
		if steps != newest || newest < 12 {
			t.Errorf("%d steps led to version %d", steps, newest)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestClockAhead(t *testing.T) {
	t.Parallel()
	cfg := emptyPostgres(t)
	for _, want := range []time.Duration{0, time.Hour, -time.Hour} {
		cfg.Now = func() time.Time { return time.Now().Add(want) }
		if got, err := openWith(t, cfg).ClockAhead(t.Context()); err != nil || (got-want).Abs() > time.Minute {
			t.Errorf("the clock is %s ahead, %v; want %s", got, err, want)
		}
	}
}
