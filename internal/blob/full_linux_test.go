package blob

import (
	"errors"
	"os"
	"testing"
)

// Writing to /dev/full fails as on a disk without room.
func TestReceiveStopsOnAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	stream := &endless{limit: 1 << 30}
	if err := new(Incoming).receive(t.Context(), full, stream); !errors.Is(err, ErrFull) {
		t.Errorf("receive onto a full disk: %v", err)
	}
	if stream.read > 64<<20 {
		t.Errorf("%d bytes were read although nothing could be written", stream.read)
	}
}

// endless gives zeros, and fails after a limit rather than fill a disk.
type endless struct{ read, limit int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > e.limit {
		return 0, errors.New("read too far")
	}
	return len(p), nil
}
