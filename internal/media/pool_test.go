package media

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	ServeWorkerIfAsked()
	os.Exit(m.Run())
}

// newPool is a pool that ends with the test.
func newPool(t testing.TB, change func(*Config)) *Pool {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Workers = 2
	if change != nil {
		change(&cfg)
	}
	pool, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}
