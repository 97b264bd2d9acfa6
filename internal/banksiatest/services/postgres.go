package services

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Engine is the database that tests with no need of a certain one run on: "sqlite",
// or "postgres" when BANKSIA_TEST_ENGINE says so.
func Engine() string {
	if engine := os.Getenv("BANKSIA_TEST_ENGINE"); engine != "" {
		return engine
	}
	return "sqlite"
}

// cluster is a PostgreSQL server.
type cluster struct {
	folder   string // of its socket
	address  string // host:port
	mu       sync.Mutex
	made     int
	template string // a database that new ones are copies of
}

var postgres = sync.OnceValues(startPostgres)

// Postgres makes a database on a real server and returns its URL; it goes with the
// test. prepare is called on the first one alone, and the others begin as it left
// that; nil: they are empty.
func Postgres(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	c, err := postgres()
	if err != nil {
		t.Fatal(err)
	}
	name, err := c.newDatabase(prepare)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return c.url(name)
}

// PostgresThrough is Postgres for an empty database, by way of a cable.
func PostgresThrough(t testing.TB) (url string, cable *Cable) {
	t.Helper()
	c, err := postgres()
	if err != nil {
		t.Fatal(err)
	}
	name, err := c.newDatabase(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	cable = Proxy(t, c.address)
	return "postgres://banksia@" + cable.Address + "/" + name + "?sslmode=disable", cable
}

func (c *cluster) url(database string) string {
	_, port, _ := strings.Cut(c.address, ":")
	query := url.Values{"host": {c.folder}, "port": {port}, "user": {"banksia"}}
	return "postgres:///" + database + "?" + query.Encode()
}

func (c *cluster) newDatabase(prepare func(url string) error) (name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if prepare != nil && c.template == "" {
		if err := c.exec("CREATE DATABASE template"); err != nil {
			return "", err
		}
		if err := prepare(c.url("template")); err != nil {
			return "", err
		}
		c.template = "template"
	}
	c.made++
	name = "test" + strconv.Itoa(c.made)
	text := "CREATE DATABASE " + name
	if prepare != nil {
		text += " TEMPLATE " + c.template + " STRATEGY FILE_COPY"
	}
	return name, c.exec(text)
}

func (c *cluster) exec(text string) error {
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	_, err = connection.Exec(ctx, text)
	return errors.Join(err, connection.Close(ctx))
}

// startPostgres makes a server that trusts whoever connects: it listens on a socket
// in its own folder, and on a loopback port for the sake of cables. It does not wait for the disk, since its data need not outlive the tests.
func startPostgres() (*cluster, error) {
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(programs) == 0 {
		return nil, errors.Join(err, errors.New("PostgreSQL is missing; scripts/install build run test installs it"))
	}
	newest := slices.MaxFunc(programs, func(a, b string) int { return version(a) - version(b) })
	folder, err := os.MkdirTemp("", "banksia-postgres-")
	if err != nil {
		return nil, err
	}
	credential, err := unprivileged(folder)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "data")
	initialise := exec.Command(filepath.Join(newest, "initdb"), "-D", data, "-U", "banksia", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initialise.Dir, initialise.SysProcAttr = folder, &syscall.SysProcAttr{Credential: credential}
	if output, err := initialise.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	c := &cluster{folder: folder}
	if c.address, err = freeAddress(); err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(c.address, ":")
	err = start(folder, credential, func() error { return c.exec("SELECT 1") }, []string{"LC_ALL=C.UTF-8"}, filepath.Join(newest, "postgres"), "-D", data, "-k", folder, "-p", port, "-c", "listen_addresses="+host,
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "autovacuum_naptime=10s")
	return c, err
}

// version is the number in a path such as /usr/lib/postgresql/15/bin.
func version(programs string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(programs)))
	return n
}

// unprivileged gives a folder to the user postgres of Debian's package when this
// process is root's, as whom PostgreSQL refuses to run; nil otherwise.
func unprivileged(folder string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(folder, uid, gid)
}
