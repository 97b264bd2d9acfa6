// Package services starts the servers that Banksia works with, for tests: real
// ones, on loopback addresses, each once for a test process.
package services

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// s3Module is the S3 server of the tests, pinned. It is built by itself, so that
// what it depends on stays out of the product.
const s3Module = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

const (
	s3Key    = "banksia-test"
	s3Secret = "banksia-test-secret"
)

// S3 returns a new, empty bucket of an S3 server, which is started when the first
// test asks for one and ends with the process. endpoint is a URL.
func S3(t testing.TB) (endpoint, bucket, key, secret string) {
	t.Helper()
	server, err := s3Server()
	if err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	bucket = "test-" + strings.ToLower(rand.Text())
	if err := os.Mkdir(filepath.Join(server.files, bucket), 0o700); err != nil { // to this server, folders are buckets
		t.Fatal(err)
	}
	return "http://" + server.address, bucket, s3Key, s3Secret
}

// S3Folder is where the server keeps the objects of a bucket as files, for tests that
// damage them behind its back.
func S3Folder(t testing.TB, bucket string) string {
	t.Helper()
	server, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(server.files, bucket)
}

type s3Process struct{ address, files string }

var s3Server = sync.OnceValues(func() (server s3Process, err error) {
	program, err := build(s3Module)
	if err != nil {
		return server, err
	}
	for range 3 { // another process may take the port before it does
		if server, err = startS3(program); err == nil {
			break
		}
	}
	return server, err
})

func startS3(program string) (server s3Process, err error) {
	folder, err := os.MkdirTemp("", "banksia-s3-")
	if err != nil {
		return server, err
	}
	server.files = filepath.Join(folder, "files")
	sidecar := filepath.Join(folder, "sidecar") // not every file system has extended attributes
	if err := errors.Join(os.Mkdir(server.files, 0o700), os.Mkdir(sidecar, 0o700)); err != nil {
		return server, err
	}
	if server.address, err = freeAddress(); err != nil {
		return server, err
	}
	err = start(folder, nil, func() error { return answers(server.address) },
		[]string{"ROOT_ACCESS_KEY=" + s3Key, "ROOT_SECRET_KEY=" + s3Secret},
		program, "--port", server.address, "--quiet", "--keep-alive", "posix", "--sidecar", sidecar, server.files)
	return server, err
}

// build installs a program of a pinned module into the user's cache, once for all
// test processes, and returns its path.
func build(module string) (program string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path, version, _ := strings.Cut(module, "@")
	folder := filepath.Join(cache, "banksia-test", filepath.Base(path)+"-"+version)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", folder, err)
	}
	program = filepath.Join(folder, filepath.Base(path))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	install := exec.Command("go", "install", module)
	install.Dir = folder // outside our module
	install.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w: %s", module, err, output)
	}
	return program, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// answers tells whether something accepts connections at an address.
func answers(address string) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}

// start runs a server until this process ends, however it ends, then removes its
// folder. It returns when ready does not fail any more. The server runs as the user
// of credential; nil: as this one.
//
// A shell beside the server waits for the end of a pipe that only this process
// holds open: tests have no hook at the end of a process, and some are killed.
func start(folder string, credential *syscall.Credential, ready func() error, environment []string, program string, arguments ...string) error {
	const script = `folder=$1; shift
exec 3<&0
"$@" </dev/null & server=$!
(read end <&3; kill $server) & watch=$!
wait $server
kill $watch 2>/dev/null
rm -rf "$folder"`
	held, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer held.Close()
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	server := exec.Command("sh", append([]string{"-c", script, "sh", folder, program}, arguments...)...)
	server.Stdin, server.Stdout, server.Stderr = held, log, log
	server.Env = append(os.Environ(), environment...)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential} // Ctrl-C in a terminal is for the tests
	if err := server.Start(); err != nil {
		return err
	}
	holds = append(holds, hold)
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	name := filepath.Base(program)
	for range 600 {
		if err = ready(); err == nil {
			return nil
		}
		select {
		case <-ended:
			log.Seek(0, io.SeekStart)
			text, _ := io.ReadAll(log) // the folder is gone by now
			return fmt.Errorf("%s ended: %s", name, bytes.TrimSpace(text))
		case <-time.After(50 * time.Millisecond): // between two looks
		}
	}
	return fmt.Errorf("%s does not answer: %w", name, err)
}

// holds keeps the pipes of running servers open until the process ends.
var holds []io.Closer
