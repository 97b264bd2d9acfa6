package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
)

// cutOff runs a command until a cable breaks in the middle of what goes through it,
// and kills it at that moment; false: it has ended before.
func (c *nodes) cutOff(t *testing.T, cable *services.Cable, after int64, args ...string) bool {
	t.Helper()
	cut := cable.CutAfter(after)
	defer cable.Mend()
	command := c.command(t.Context(), args...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-cut:
		command.Process.Kill()
		<-ended
		return true
	case err := <-ended:
		if err != nil {
			select {
			case <-cut: // it was told by the break itself
				return true
			default:
				t.Fatalf("banksia %q: %v %s", args, err, &out)
			}
		}
		cable.Cut() // or what comes next would be cut
		return false
	}
}

// has tells which photos a server has, by their SHA-256 in base64.
func (s *server) has(t *testing.T, key string) map[string]bool {
	sums := map[string]bool{}
	for _, a := range s.assets(t, key) {
		sums[a.FileData.Checksum] = true
	}
	return sums
}

// Backups into S3, checks and restores are made and killed while nodes are used. A
// backup holds what was acknowledged before it began, and comes up on the other engine
// and the other storage, and on the same ones.
func TestBackupOfNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2)
	location, err := url.Parse(c.blobs)
	if err != nil {
		t.Fatal(err)
	}
	beside := func(prefix string) string { // in the same bucket
		other := *location
		other.Path = "/" + prefix
		return other.String()
	}
	place := beside("backups")
	var mu sync.Mutex
	there := map[string]bool{} // checksums of what was acknowledged and is not deleted
	before := func() map[string]bool {
		mu.Lock()
		defer mu.Unlock()
		kept := map[string]bool{}
		for sum := range there {
			kept[sum] = true
		}
		return kept
	}
	number := 0
	add := func(keep bool) {
		mu.Lock()
		number++
		n := number
		mu.Unlock()
		content := photo(n, 60+n%100, 50)
		status, _, id := c.send(t, fmt.Sprintf("%d.jpg", n), content)
		if status != 201 {
			return // cut off
		}
		if !keep {
			c.ask(context.Background(), "DELETE", "/api/assets/"+id, nil)
			return
		}
		sum := sha256.Sum256(content)
		mu.Lock()
		there[base64.StdEncoding.EncodeToString(sum[:])] = true
		mu.Unlock()
	}
	for range 10 {
		add(true)
	}
	using, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	users.Go(func() {
		for n := 0; using.Err() == nil; n++ {
			add(n%3 > 0)
		}
	})

	kills := 0
	for round := range rounds(t, 2) {
		cable, size := c.database, int64(20_000)
		if round%2 == 1 {
			cable, size = c.storage, 60_000
		}
		if c.cutOff(t, cable, rand.Int64N(size), "backup", place, "--keep", "2", "--data", "backing") {
			kills++
		}
	}
	wanted := before()
	for range 2 {
		c.mustRun(t, "backup", place, "--keep", "2", "--data", "backing")
		if out := c.mustRun(t, "check", "--read-data", "--data", "checking"); !strings.Contains(out, "Everything is there") {
			t.Error(out)
		}
	}
	stop()
	users.Wait()
	c.mustRun(t, "backup", "verify", place, "--read-data", "--data", "backing")

	compare := func(name string, s *server) {
		got := s.has(t, c.key)
		for sum := range wanted {
			if !got[sum] {
				t.Errorf("%s: the photo %s was acknowledged before the backup and is not in it", name, sum)
			}
		}
		if len(got) > number {
			t.Errorf("%s: there are %d photos, of %d", name, len(got), number)
		}
	}
	// The other engine and the other storage.
	alone := c.alone()
	alone.mustRun(t, "restore", place, "--data", "home")
	home := alone.serve(t, "--data", "home")
	compare("SQLite and a folder", home)
	// From there into PostgreSQL and S3, killed now and then.
	attic := filepath.Join(c.dir, "attic")
	alone.mustRun(t, "backup", attic, "--data", "home")
	home.end(t, syscall.SIGTERM)
	empty, cable := services.PostgresThrough(t)
	restore := []string{"restore", attic, "--data", "again", "--database-url", empty, "--blobs", beside("again")}
	restored := false
	for round := range rounds(t, 2) {
		line, size := c.storage, int64(40_000)
		if round%2 == 1 {
			line, size = cable, 60_000
		}
		if restored = !c.cutOff(t, line, rand.Int64N(size), restore...); restored {
			break
		}
		kills++
	}
	if !restored {
		c.mustRun(t, restore...)
	}
	again := c.serve(t, "--data", "again", "--database-url", empty, "--blobs", beside("again"))
	compare("PostgreSQL and S3", again)
	if out := c.mustRun(t, "check", "--read-data", "--data", "again", "--database-url", empty, "--blobs", beside("again")); !strings.Contains(out, "Everything is there") {
		t.Error(out)
	}

	if status, _, problem := c.run(t, append(slices.Clone(restore), "--data", "nowhere", "--blobs", beside("nowhere"))...); status != 1 || !strings.Contains(problem, "a library in the database already") {
		t.Errorf("restoring over a library: %d %s", status, problem)
	}
	if n := files(t, filepath.Join(services.S3Folder(t, location.Host), "nowhere")); n != 0 {
		t.Errorf("%d files were copied before that was told", n)
	}
	// A storage that has acknowledged an original loses it, and damages another.
	var originals []string
	err = filepath.WalkDir(filepath.Join(services.S3Folder(t, location.Host), "again", "originals"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			originals = append(originals, path)
		}
		return err
	})
	if err != nil || len(originals) < 2 {
		t.Fatal(originals, err)
	}
	lost, damaged := originals[0], originals[1]
	info, err := os.Stat(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(lost), os.WriteFile(damaged, make([]byte, info.Size()), 0o600)); err != nil {
		t.Fatal(err)
	}
	check := []string{"check", "--read-data", "--data", "again", "--database-url", empty, "--blobs", beside("again")}
	if status, out, _ := c.run(t, check...); status != 1 || !strings.Contains(out, filepath.Base(lost)) || !strings.Contains(out, filepath.Base(damaged)) {
		t.Errorf("a check of a storage that lost one and damaged one: %d %s", status, out)
	}
	c.mustRun(t, append(check, "--repair", "--from-backup", attic)...)
	c.mustRun(t, check...)
	t.Logf("%d backups and restores were killed, %d photos are in the last backup", kills, len(wanted))
}
