package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/blob"
)

// originalsIn lists the paths of the originals below a folder.
func originalsIn(t *testing.T, folder string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(folder, "originals"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// An operator makes backups of a running server, mends what a disk broke from them,
// and brings the library up elsewhere and after its database was lost.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	writePhotos(t, filepath.Join(p.dir, "photos"), 4)
	s := p.serve(t)
	key := s.key
	p.mustRun(t, "import", "photos")
	out := p.mustRun(t, "backup", "backups")
	contains(t, "the backup", out, "4 originals", "of which 4")
	name := strings.Fields(strings.TrimPrefix(out, "backup "))[0]
	name = strings.TrimSuffix(name, ":")
	contains(t, "the list", p.mustRun(t, "backup", "list", "backups"), name)
	contains(t, "the proof", p.mustRun(t, "backup", "verify", "backups", "--read-data"), name, "is whole: 4 originals")

	// A disk loses one original and damages another.
	all := originalsIn(t, p.data("blobs"))
	if err := os.Remove(all[0]); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(all[1])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(all[1], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, problem := p.run(t, "check", "--read-data"); status != 1 || !strings.Contains(out, "is missing") || !strings.Contains(out, "is damaged") || !strings.Contains(problem, "2 problems") {
		t.Errorf("a check of a damaged library: %d %s%s", status, out, problem)
	}
	if status, _, problem := p.run(t, "check", "--from-backup", "backups"); status != 2 || !strings.Contains(problem, "--repair") {
		t.Errorf("a backup and no repair: %d %s", status, problem)
	}
	contains(t, "the repair", p.mustRun(t, "check", "--read-data", "--repair", "--from-backup", "backups"), "brought back", "agrees")
	s.wantOriginals(t, key, 4)

	// What came after the backup is not in it. Its bytes survive the database.
	if status, id := s.upload(t, key, "later.jpg", strings.NewReader(string(photo(99, 40, 30)))); status != 201 || id == "" {
		t.Fatalf("upload: %d", status)
	}
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("ends with %d", status)
	}
	if status, _, problem := p.run(t, "restore", "backups"); status != 1 || !strings.Contains(problem, "empty folder") {
		t.Errorf("a restore over a database: %d %s", status, problem)
	}
	if err := os.Remove(p.data("banksia.db")); err != nil {
		t.Fatal(err)
	}
	contains(t, "the restore", p.mustRun(t, "restore", "backups"), "Restored backup "+name, "of which 0 were copied")
	damaged := p.data("blobs/" + string(blob.Original(make([]byte, 32))))
	if err := errors.Join(os.MkdirAll(filepath.Dir(damaged), 0o700), os.WriteFile(damaged, []byte("other bytes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range originalsIn(t, p.data("blobs")) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	status, _, problem := p.run(t, "check", "--save-unowned", "unowned")
	if saved := files(t, filepath.Join(p.dir, "unowned")); status != 1 || saved != 1 || !strings.Contains(problem, filepath.Base(damaged)) {
		t.Errorf("beside a damaged one %d were saved: %d %s", saved, status, problem)
	}
	if err := os.Remove(damaged); err != nil {
		t.Fatal(err)
	}
	contains(t, "the check", p.mustRun(t, "check", "--save-unowned", "unowned"), "1 originals", "belong to no asset", "saved in unowned")
	contains(t, "the import", summary(p.mustRun(t, "import", "unowned")), "imported 1")
	if out := p.mustRun(t, "check", "--save-unowned", "none"); strings.Contains(out, "belong to no asset") {
		t.Error(out)
	}
	s = p.serve(t)
	s.wantOriginals(t, key, 5)
	s.end(t, syscall.SIGTERM)

	// Elsewhere, on the other engine and storage, twice the same.
	location, _, _ := p.onS3(t, "restored")
	database := services.Postgres(t, nil)
	p.mustRun(t, "restore", "backups", "--data", "other", "--database-url", database, "--blobs", location)
	other := p.serve(t, "--data", "other", "--database-url", database, "--blobs", location)
	other.wantOriginals(t, key, 4)
	backups := strings.Replace(location, "/restored", "/backups", 1)
	contains(t, "a backup in a bucket", p.mustRun(t, "backup", backups, "--data", "other", "--database-url", database, "--blobs", location), "4 originals")
	contains(t, "its proof", p.mustRun(t, "backup", "verify", backups, "--read-data"), "is whole")
}

// Mistakes are told before anything happens, with what to do.
func TestBackupMistakes(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	location, _, _ := p.onS3(t, "blobs")
	p.mustRun(t, "keys", "create", "--name", "phone")
	if err := os.Mkdir(filepath.Join(p.dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"backup"}, 2, "one place"},
		{[]string{"backup", "data"}, 1, "lies in the data folder"},
		{[]string{"backup", "data/blobs"}, 1, "lies in the data folder"},
		{[]string{"backup", "data/backups"}, 1, "lies in the data folder"},
		{[]string{"backup", location, "--blobs", location}, 1, "place of the library's own originals"},
		{[]string{"backup", "backups", "--data", "elsewhere"}, 1, "no library in elsewhere"},
		{[]string{"backup", "list", "nowhere"}, 1, "there are no backups in nowhere"},
		{[]string{"backup", "list", "empty"}, 1, "there are no backups in empty"},
		{[]string{"backup", "verify", "empty"}, 1, "there are no backups in empty"},
		{[]string{"restore", "empty", "--data", "new"}, 1, "there are no backups in empty"},
		{[]string{"check", "--repair", "--from-backup", "empty"}, 1, "there are no backups in empty"},
		{[]string{"migrate", "--from", "sqlite", "--to", "mysql://db/banksia"}, 2, "postgres://"},
		{[]string{"migrate", "--from", "sqlite", "--to", "sqlite:nowhere/banksia.db"}, 1, "nowhere"},
	} {
		status, out, problem := p.run(t, test.args...)
		if status != test.status || !strings.Contains(out+problem, test.says) {
			t.Errorf("%q: %d %s%s; want %d %s", test.args, status, out, problem, test.status, test.says)
		}
	}
	p.mustRun(t, "backup", "backups")
	for _, verb := range [][]string{{"backup", "verify"}, {"restore"}} {
		args := append(verb, "backups", "--snapshot", "2020", "--data", "new")
		if status, _, problem := p.run(t, args...); status != 1 || !strings.Contains(problem, `no backup "2020" in backups`) || !strings.Contains(problem, "backup list") {
			t.Errorf("%q: %d %s", args, status, problem)
		}
	}
}

// What an operator mistypes about PostgreSQL is a sentence, without the password.
func TestDatabaseMistakes(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	database := services.Postgres(t, nil)
	with := func(name, value string) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		query.Set(name, value)
		query.Set("password", "a-secret")
		u.RawQuery = query.Encode()
		return u.String()
	}
	for _, test := range []struct{ database, says string }{
		{with("user", "nobody"), "PostgreSQL refuses the user or the password"},
		{with("dbname", "missing"), "make it first"},
		{with("host", p.dir), "PostgreSQL cannot be reached; is it running"},
	} {
		for _, args := range [][]string{
			{"serve", "--listen", "127.0.0.1:0", "--database-url", test.database},
			{"check", "--database-url", test.database},
			{"migrate", "--from", test.database, "--to", "sqlite"},
		} {
			status, out, problem := p.run(t, args...)
			if status != 1 || !strings.Contains(problem, test.says) || strings.Contains(out+problem, "a-secret") || strings.Count(problem, "\n") > 1 {
				t.Errorf("%q: %d %s%s; want %s", args, status, out, problem, test.says)
			}
		}
	}
	p.mustRun(t, "keys", "create", "--name", "phone", "--database-url", database)
	p.mustRun(t, "keys", "create", "--name", "phone")
	p.mustRun(t, "backup", "backups")
	for _, args := range [][]string{
		{"migrate", "--from", "sqlite", "--to", database},
		{"restore", "backups", "--data", "new", "--database-url", database},
	} {
		if status, _, problem := p.run(t, args...); status != 1 || !strings.Contains(problem, "there is a library in the database") || !strings.Contains(problem, "empty one") {
			t.Errorf("%q: %d %s", args, status, problem)
		}
	}
}

// What root makes in the data folder of another user, that user's server can use.
func TestFilesMadeByRoot(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	writePhotos(t, filepath.Join(p.dir, "photos"), 2)
	if err := os.Mkdir(p.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 { // anybody else makes files of their own anyway
		owner = 12345
		if err := os.Chown(p.data(), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	want := func(after string) {
		t.Helper()
		err := filepath.WalkDir(p.data(), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != owner {
				t.Errorf("%s is not the owner's after %s", path, after)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.mustRun(t, "import", "photos")
	want("import")
	p.mustRun(t, "backup", "backups")
	want("backup")
	if err := os.Remove(originalsIn(t, p.data("blobs"))[0]); err != nil {
		t.Fatal(err)
	}
	p.mustRun(t, "check", "--repair", "--from-backup", "backups")
	want("check --repair")
	for _, name := range []string{"banksia.db", "blobs", "lock"} {
		if err := os.RemoveAll(p.data(name)); err != nil {
			t.Fatal(err)
		}
	}
	p.mustRun(t, "restore", "backups")
	want("restore")
}
