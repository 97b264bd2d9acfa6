package catalog_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// These name the folder and, on PostgreSQL, the database for a helper process.
const (
	crashVariable         = "BANKSIA_TEST_CRASH"
	crashDatabaseVariable = "BANKSIA_TEST_CRASH_DATABASE"
)

// uploadUntilKilled turns this process into the helper of TestCrash when that
// asks for it: it works like a server, uploads without end, and prints a line for
// each acknowledged upload.
func uploadUntilKilled() {
	folder, asked := os.LookupEnv(crashVariable)
	if !asked {
		return
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	database := store.Config{URL: os.Getenv(crashDatabaseVariable)}
	if database.URL == "" {
		database.Path = filepath.Join(folder, "banksia.db")
	}
	r, err := openRig(folder, database)
	if err != nil {
		fail(err)
	}
	r.runner.Start(context.Background())
	var uploading sync.WaitGroup
	for range 3 {
		uploading.Go(func() {
			for {
				number := rand.IntN(1 << 30)
				id, created, err := r.upload(context.Background(), r.scope, nil, "a.jpg", bytes.NewReader(photo(number, 200+number%200, 150)))
				if err != nil {
					fail(err)
				}
				if created {
					fmt.Printf("%s %d\n", id, number) // one write, so whole or not at all
				}
			}
		})
	}
	uploading.Wait()
}

// A server that is killed at any moment keeps every acknowledged upload whole, has
// no row without its bytes, leaves nothing that the next start does not sweep, and
// loses no task.
func TestCrash(t *testing.T) {
	t.Parallel()
	folder, database := t.TempDir(), store.Config{}
	if services.Engine() == "sqlite" {
		database.Path = filepath.Join(folder, "banksia.db")
	} else {
		database = storetest.Postgres(t)
	}
	acknowledged := map[banksia.AssetID]int{}
	rounds := 6
	if text := os.Getenv("BANKSIA_TEST_FAULTS"); text != "" { // the long form: make faults
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("BANKSIA_TEST_FAULTS: %v", err)
		}
	}
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashVariable+"="+folder, crashDatabaseVariable+"="+database.URL)
		var problems bytes.Buffer
		child.Stderr = &problems
		lines, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(lines)
		after := 1 + rand.IntN(25)
		for n := 0; ; n++ {
			line, err := reader.ReadString('\n')
			if err == io.EOF {
				break
			}
			var text string
			var number int
			if _, err := fmt.Sscanf(line, "%s %d\n", &text, &number); err != nil {
				t.Fatalf("the helper says %q: %v", line, err)
			}
			id, err := banksia.ParseID[banksia.AssetID](text)
			if err != nil {
				t.Fatal(err)
			}
			acknowledged[id] = number
			if n == after { // at a random point of the next uploads
				go func() {
					<-time.After(time.Duration(rand.IntN(30_000)) * time.Microsecond)
					child.Process.Kill()
				}()
			}
		}
		if err := child.Wait(); err == nil || problems.Len() > 0 {
			t.Fatalf("round %d: the helper ended by itself: %v: %s", round, err, problems.String())
		}
	}
	if len(acknowledged) < 2*rounds {
		t.Fatalf("only %d uploads were acknowledged", len(acknowledged))
	}

	r := newRigOn(t, folder, database)
	now := time.Now().Add(time.Second)
	if _, err := blob.SweepTemp(r.blobs, now); err != nil {
		t.Fatal(err)
	}
	swept, err := r.catalog.SweepOriginals(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	r.wantNoTemp(t)
	assets := r.all(t)
	t.Logf("%d acknowledged, %d stored, %d cut off originals swept", len(acknowledged), len(assets), swept)
	for id, number := range acknowledged {
		a, stored := assets[id]
		if !stored {
			t.Errorf("%s was acknowledged and is lost", id)
			continue
		}
		reader, _, err := r.blobs.Open(t.Context(), blob.Original(a.File.SHA256))
		if err != nil {
			t.Errorf("%s was acknowledged and has no bytes: %v", id, err)
			continue
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, photo(number, 200+number%200, 150)) {
			t.Errorf("%s was acknowledged and holds other bytes: %d, %v", id, len(got), err)
		}
		reader.Close()
	}
	originals := r.originals(t)
	var used int64
	for id, a := range assets {
		if size, ok := originals[blob.Original(a.File.SHA256)]; !ok || size != a.File.SizeBytes {
			t.Errorf("%s has a row and %d bytes of %d", id, size, a.File.SizeBytes)
		}
		used += a.File.SizeBytes
	}
	for key := range originals {
		reader, _, err := r.blobs.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		io.Copy(sum, reader)
		reader.Close()
		if want := blob.Original(sum.Sum(nil)); want != key {
			t.Errorf("%s holds the bytes of %s", key, want)
		}
	}
	if len(originals) != len(assets) {
		t.Errorf("%d originals for %d assets: leftovers were not swept", len(originals), len(assets))
	}
	if l := r.library(t); l.AssetCount != int64(len(assets)) || l.StorageUsedBytes != used {
		t.Errorf("the library counts %d assets and %d bytes; there are %d and %d", l.AssetCount, l.StorageUsedBytes, len(assets), used)
	}

	r.runner.Start(t.Context())
	r.settled(t)
	for id, a := range r.all(t) {
		r.wantTasks(t, id, banksia.TaskSuccess, banksia.TaskDisplayProxy, banksia.TaskThumbHash)
		for variant := range banksia.LongestEdge {
			if info, err := r.blobs.Stat(t.Context(), blob.Derived(a.Version.ID, variant)); err != nil || info.Size == 0 {
				t.Errorf("%s of %s: %+v, %v", variant, id, info, err)
			}
		}
		if len(a.Version.ThumbHash) == 0 {
			t.Errorf("%s has no thumbhash", id)
		}
	}
}

// all reads every asset of the library, by pages.
func (r *rig) all(t *testing.T) map[banksia.AssetID]banksia.Asset {
	t.Helper()
	assets := map[banksia.AssetID]banksia.Asset{}
	filter := store.AssetFilter{LibraryID: r.library(t).ID, State: store.All, Limit: 200}
	for {
		page, more, err := r.store.ListAssets(t.Context(), r.scope, filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			assets[a.ID] = a
			filter.StartingAfter = &a.ID
		}
		if !more {
			return assets
		}
	}
}

// The sweep takes what an upload noted and did not finish, and nothing else.
func TestSweepOriginals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	finished := r.mustUpload(t, "a.jpg", photo(1, 8, 8)).File.SHA256
	sums := map[string]banksia.Digest{}
	for _, name := range []string{"cut off", "without a note", "noted without bytes"} {
		sum := sha256.Sum256([]byte(name))
		sums[name] = sum[:]
		if name != "noted without bytes" {
			if err := r.blobs.Put(t.Context(), blob.Original(sum[:]), strings.NewReader(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sum := range []banksia.Digest{sums["cut off"], sums["noted without bytes"], finished} {
		if _, err := r.blobs.MarkPending(t.Context(), sum); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := r.catalog.SweepOriginals(t.Context(), time.Now().Add(-time.Hour)); err != nil || removed != 0 {
		t.Errorf("swept %d of an hour ago, %v", removed, err)
	}
	for _, want := range []int{1, 0} {
		if removed, err := r.catalog.SweepOriginals(t.Context(), time.Now().Add(time.Second)); err != nil || removed != want {
			t.Errorf("swept %d, %v; want %d", removed, err, want)
		}
	}
	found := r.originals(t)
	for name, sum := range sums {
		if _, stored := found[blob.Original(sum)]; stored != (name == "without a note") {
			t.Errorf("%q is stored: %v", name, stored)
		}
	}
	if _, stored := found[blob.Original(finished)]; !stored {
		t.Error("a finished upload was swept")
	}
	r.wantNoTemp(t)
}
