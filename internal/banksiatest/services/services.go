// Package services starts real servers for tests: PostgreSQL and S3, each once for
// a test process, on loopback addresses and temporary folders. They end, and their
// folders go, when the process ends in whatever way.
package services

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// supervise runs a program until this process is gone, and then removes its folder:
// a shell waits for the end of its input, which this process holds open.
const supervise = `
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
program=$!
cat >/dev/null
kill -QUIT $program 2>/dev/null || kill $program 2>/dev/null
sleep 0.2
kill -KILL $program 2>/dev/null
wait $program 2>/dev/null
rm -rf "$folder"
`

// process is a server under supervision.
type process struct {
	folder string
	input  *os.File // closing it ends the server
}

// start runs a program with its files in folder, as another user when credential is
// not nil.
func start(folder string, credential *syscall.Credential, environment []string, program ...string) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program[0], err)
	}
	defer read.Close()
	command := exec.Command("/bin/sh", append([]string{"-c", supervise, "sh", folder}, program...)...)
	command.Dir, command.Stdin, command.Env = folder, read, environment
	// A signal for the tests, such as Ctrl-C, must not end the server before them.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential}
	if err := command.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("start %s: %w", program[0], err)
	}
	go command.Wait()
	return &process{folder: folder, input: write}, nil
}

// await calls ready until it succeeds.
func (p *process) await(ready func() error) error {
	var err error
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(p.folder, "log"))
	p.input.Close()
	return fmt.Errorf("not ready after a minute: %w; it said:\n%s", err, log)
}
