package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banksia-photos/banksia"
)

// TestWorkerHoldsNothing looks at a worker from outside: its environment, open
// files, working folder and limits.
func TestWorkerHoldsNothing(t *testing.T) {
	t.Setenv("BANKSIA_DATABASE_URL", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	// A file that the server holds open and forgot to keep to itself.
	held, err := unix.Open(write(t, t.TempDir(), "database", []byte("secret")), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	pool := newPool(t, func(c *Config) { c.MemoryLimit, c.TempDir = 512<<20, t.TempDir() })
	checkServes(t, pool)
	pids := pool.workers()
	if len(pids) != 1 {
		t.Fatalf("workers: %v", pids)
	}
	process := fmt.Sprintf("/proc/%d/", pids[0])
	environment, err := os.ReadFile(process + "environ")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{workerVariable, "LC_ALL", "VIPS_CONCURRENCY", "VIPS_WARNING", "MALLOC_ARENA_MAX", "VIPS_DISC_THRESHOLD", "GOMAXPROCS", "GOGC", "TMPDIR", "PATH", "LD_LIBRARY_PATH", "GORACE", "GOCOVERDIR"}
	for _, variable := range strings.Split(strings.Trim(string(environment), "\x00"), "\x00") {
		if name, value, _ := strings.Cut(variable, "="); !slices.Contains(known, name) || strings.Contains(value, "secret") {
			t.Errorf("its environment has %s", variable)
		}
	}
	entries, err := os.ReadDir(process + "fd")
	if err != nil || len(entries) < 4 {
		t.Fatalf("%d open files, %v", len(entries), err)
	}
	for _, entry := range entries {
		target, err := os.Readlink(process + "fd/" + entry.Name())
		if err != nil || !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/sys/fs/cgroup/") { // those of the Go runtime
			t.Errorf("its file %s is %s, %v", entry.Name(), target, err)
		}
	}
	if folder, err := os.Readlink(process + "cwd"); err != nil || !strings.HasPrefix(folder, filepath.Join(pool.cfg.TempDir, deskPrefix)) {
		t.Errorf("it works in %s, %v", folder, err)
	}
	for resource, most := range map[int]uint64{unix.RLIMIT_DATA: 2 << 30, unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxOpenFiles, unix.RLIMIT_FSIZE: 8 * 500e6 << 1, unix.RLIMIT_CPU: 1000} {
		var limit unix.Rlimit
		if err := unix.Prlimit(pids[0], resource, nil, &limit); err != nil || limit.Cur > most {
			t.Errorf("limit %d is %+v, %v", resource, limit, err)
		}
	}
	tasks, err := filepath.Glob(process + "task/*/status")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("its threads: %v, %v", tasks, err)
	}
	for _, task := range tasks { // each, for limits of one thread are those of none
		status, err := os.ReadFile(task)
		if err != nil || !bytes.Contains(status, []byte("NoNewPrivs:\t1\n")) || !bytes.Contains(status, []byte("Seccomp:\t2\n")) {
			t.Errorf("%s, %v", status, err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(pool.cfg.TempDir); err != nil || len(left) > 0 {
		t.Errorf("the pool leaves %v, %v", left, err)
	}
}

// TestWorkerSeesOneFile: a job's file is read on the desk alone; the same file
// elsewhere is out of the worker's reach.
func TestWorkerSeesOneFile(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	path := write(t, dir, "good.png", encodePNG(t, quarters(40, 30, cornerColours)))
	job := request{Work: workThumbHash, Path: path, Format: "png"}
	if _, err := pool.do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	w, err := pool.takeWorker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w.missing != "" {
		t.Fatalf("this kernel cannot isolate workers: %s", w.missing)
	}
	result, err := w.run(t.Context(), job)
	if err != nil || result.Failure == nil || !strings.Contains(result.Failure.Detail, "permission denied") {
		t.Errorf("a worker reads what was not given to it: %+v, %v", result, err)
	}
	pool.putWorker(w, 0)
	checkServes(t, pool)
}

// TestDeskTakesOrdinaryFiles: a worker cannot make the server read or keep for it
// what it may not.
func TestDeskTakesOrdinaryFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := write(t, dir, "secret", []byte("secret"))
	for name, make := range map[string]func(string) error{
		"a link":       func(path string) error { return os.Symlink(secret, path) },
		"another name": func(path string) error { return os.Link(secret, path) },
		"a pipe":       func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a folder":     func(path string) error { return os.Mkdir(path, 0o700) },
		"nothing":      func(string) error { return nil },
	} {
		d, err := newDesk(dir)
		if err != nil {
			t.Fatal(err)
		}
		job := request{Path: secret, Orders: []Order{{Path: filepath.Join(dir, "result")}}}
		laid, err := d.lay(job)
		if err != nil {
			t.Fatal(err)
		}
		if err := make(laid.Orders[0].Path); err != nil {
			t.Fatal(err)
		}
		if err := d.take(job, laid, true); err == nil {
			t.Errorf("%s is taken", name)
		}
		checkGone(t, job.Orders[0].Path)
		if err := d.remove(); err != nil {
			t.Error(err)
		}
	}
	if content, err := os.ReadFile(secret); err != nil || string(content) != "secret" {
		t.Errorf("the file that was lent is now %q, %v", content, err)
	}
}

// attackVariable makes the test program a decoder that a hostile file has taken
// over; its value is the folder of TestHostileWorker.
const attackVariable = "BANKSIA_MEDIA_TEST_ATTACK"

// byCall is err when the call itself is forbidden, whatever Landlock says of it.
func byCall(err error) error {
	if err == unix.EPERM {
		return err
	}
	return nil
}

// attack gives up what a worker gives up, then tries what it may do ("may ") and
// what it may not, and prints the outcomes.
func attack(folder string) {
	d := desk{filepath.Join(folder, "desk")}
	must := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	must(closeInherited())
	must(confine(workerConfig{MemoryLimit: minMemory, MaxPixels: 1}))
	outcomes := map[string]string{"isolate": isolate(d)}
	try := func(name string, err error) {
		outcomes[name] = "done"
		if err != nil {
			outcomes[name] = err.Error()
		}
	}
	read := func(path string) error {
		_, err := os.ReadFile(path)
		return err
	}
	run := func(name string, args ...string) error {
		output, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	}
	in, out := filepath.Join(d.in(), "file"), d.out()
	server := os.Getppid()
	try("may read its file", read(in))
	try("may write a result", os.WriteFile(filepath.Join(out, "a"), []byte("a"), 0o600))
	try("may run ffmpeg", run("ffmpeg", "-v", "error", "-nostdin", "-f", "image2", "-i", in, "-f", "null", "-"))
	try("read the database", read(filepath.Join(folder, "banksia.db")))
	try("list the data folder", func() error { _, err := os.ReadDir(folder); return err }())
	try("write beside the database", os.WriteFile(filepath.Join(folder, "new"), nil, 0o600))
	try("change its file", os.WriteFile(in, []byte("x"), 0o600))
	try("delete its file", os.Remove(in))
	try("pass the database on as a result", os.Link(filepath.Join(folder, "banksia.db"), filepath.Join(out, "b")))
	try("pass a link on as a result", os.Symlink(filepath.Join(folder, "banksia.db"), filepath.Join(out, "c")))
	try("read a file of the system", read("/etc/passwd"))
	try("read the server's environment", read(fmt.Sprintf("/proc/%d/environ", server)))
	try("read the server's memory", func() error { _, err := os.Open(fmt.Sprintf("/proc/%d/mem", server)); return err }())
	try("copy the server's memory", func() error {
		var to [1]byte
		local := []unix.Iovec{{Base: &to[0]}}
		local[0].SetLen(1)
		_, err := unix.ProcessVMReadv(server, local, []unix.RemoteIovec{{Base: 0x10000, Len: 1}}, 0)
		return err
	}())
	try("debug the server", unix.PtraceSeize(server))
	try("stop the server", unix.Kill(server, 0))
	for name, kind := range map[string][2]int{"TCP": {unix.AF_INET, unix.SOCK_STREAM}, "UDP": {unix.AF_INET6, unix.SOCK_DGRAM}, "local": {unix.AF_UNIX, unix.SOCK_STREAM}, "kernel": {unix.AF_NETLINK, unix.SOCK_RAW}} {
		_, err := unix.Socket(kind[0], kind[1], 0)
		try("open a "+name+" socket", err)
	}
	_, err := net.Dial("tcp", os.Getenv("LISTENER"))
	try("call the server", err)
	try("call the server from ffmpeg", run("ffmpeg", "-v", "error", "-nostdin", "-i", "http://"+os.Getenv("LISTENER")+"/x", "-f", "null", "-"))
	try("read the database with ffmpeg", run("ffmpeg", "-v", "error", "-nostdin", "-f", "data", "-i", filepath.Join(folder, "banksia.db"), "-map", "0", "-f", "null", "-"))
	must(os.WriteFile(filepath.Join(out, "program"), []byte("#!/bin/sh\n"), 0o700))
	try("run what it wrote", run(filepath.Join(out, "program")))
	try("run what it wrote to memory", func() error { _, err := unix.MemfdCreate("program", 0); return err }())
	// An original that was lent by a hard link has its mode, owner, times and
	// attributes in common with it, and Landlock does not see to these.
	for _, path := range []string{in, filepath.Join(folder, "banksia.db")} {
		name := " of " + filepath.Base(path)
		try("change the mode"+name, os.Chmod(path, 0))
		try("change the mode by the newest call"+name, unix.Fchmodat(unix.AT_FDCWD, path, 0, unix.AT_SYMLINK_NOFOLLOW))
		try("change the owner"+name, os.Lchown(path, os.Getuid(), os.Getgid()))
		try("change the times"+name, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
		try("add an attribute"+name, unix.Setxattr(path, "user.a", []byte("a"), 0))
		// Before Linux 6.2 Landlock does not see to these either.
		try("cut off"+name, byCall(unix.Truncate(path, 0)))
		_, err := unix.Open(path, unix.O_RDONLY|unix.O_TRUNC, 0)
		try("cut off while opening"+name, byCall(err))
	}
	try("look at the server's limits", func() error {
		var limit unix.Rlimit
		return unix.Prlimit(server, unix.RLIMIT_NOFILE, nil, &limit)
	}())
	try("make the server slow", unix.Setpriority(unix.PRIO_PROCESS, server, 19))
	try("put the server on one processor", unix.SchedSetaffinity(server, &unix.CPUSet{1}))
	try("leave memory behind", func() error {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, 0o600)
		if err == nil {
			unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
		return err
	}())
	start := func(attributes syscall.SysProcAttr) error {
		command := exec.Command("true")
		command.SysProcAttr = &attributes
		return command.Run()
	}
	try("may start a program", start(syscall.SysProcAttr{}))
	try("leave a process behind in another session", start(syscall.SysProcAttr{Setsid: true}))
	try("leave a process behind in another group", start(syscall.SysProcAttr{Setpgid: true}))
	try("start a process as another user's", start(syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}))
	try("become another user's process", unix.Unshare(unix.CLONE_NEWUSER))
	try("mount something in the new way", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }())
	try("mount something", unix.Mount("none", out, "tmpfs", 0, ""))
	file, err := os.Create(filepath.Join(out, "large"))
	must(err)
	try("write a file beyond all images", file.Truncate(maxFileBase+9))
	text, err := json.Marshal(outcomes)
	must(err)
	fmt.Println(string(text))
	if os.Getenv("THEN") == "run for ever" {
		must(allowTime(0))
		for {
			unix.Getpid()
		}
	}
	os.Exit(0)
}

// TestHostileWorker: whatever a decoder does after a hostile file took it over, it
// reaches neither the server's files nor its memory nor any network, and ends.
func TestHostileWorker(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if _, err := listener.Accept(); err == nil {
			t.Error("the worker reached a server")
		}
	}()
	for then, ends := range map[string]syscall.Signal{"": 0, "run for ever": unix.SIGXCPU} {
		folder := t.TempDir()
		write(t, folder, "banksia.db", []byte("secret"))
		d := desk{filepath.Join(folder, "desk")}
		for _, path := range []string{d.in(), d.out()} {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		lent := write(t, d.in(), "file", encodePNG(t, quarters(40, 30, cornerColours)))
		before, err := os.Stat(lent)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command("/proc/self/exe")
		command.Env = append(os.Environ(), attackVariable+"="+folder, "LISTENER="+listener.Addr().String(), "THEN="+then)
		output, err := command.Output()
		status, ok := command.ProcessState.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() != (ends != 0) || ends != 0 && status.Signal() != ends {
			t.Errorf("%q: %v: %s", then, err, output)
		}
		var outcomes map[string]string
		if line, _, _ := bytes.Cut(output, []byte("\n")); json.Unmarshal(line, &outcomes) != nil {
			t.Fatalf("%q: %s", then, output)
		}
		if outcomes["isolate"] != "" {
			t.Fatalf("this kernel cannot isolate workers: %s", outcomes["isolate"])
		}
		delete(outcomes, "isolate")
		if len(outcomes) < 45 {
			t.Errorf("only %d attacks", len(outcomes))
		}
		if after, err := os.Stat(lent); err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("the file that was lent is now %+v, %v", after, err)
		}
		for name, outcome := range outcomes {
			if (outcome == "done") != strings.HasPrefix(name, "may ") {
				t.Errorf("%s: %s", name, outcome)
			}
		}
	}
}

// TestDeskOnAnotherFileSystem: where no hard link can be made, files are copied,
// and an original is never written into.
func TestDeskOnAnotherFileSystem(t *testing.T) {
	t.Parallel()
	elsewhere, err := os.MkdirTemp("/dev/shm", "banksia-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(elsewhere) })
	pool := newPool(t, func(c *Config) { c.TempDir = t.TempDir() })
	picture := encodePNG(t, quarters(40, 30, cornerColours))
	path := write(t, elsewhere, "good.png", picture)
	order := Order{banksia.VariantThumbnail, write(t, elsewhere, "drawn", []byte("what was there before, and is longer than nothing"))}
	kept := filepath.Join(elsewhere, "kept")
	if err := os.Link(order.Path, kept); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if drawn, err := pool.Draw(t.Context(), path, Formats[1], []Order{order}); err != nil || drawn[0].Width != 40 {
			t.Fatalf("%+v, %v", drawn, err)
		}
	}
	for name, want := range map[string]string{path: string(picture), kept: "what was there before, and is longer than nothing"} {
		if content, err := os.ReadFile(name); err != nil || string(content) != want {
			t.Errorf("%s is now %q, %v", name, content, err)
		}
	}
	if content, err := os.ReadFile(order.Path); err != nil || !bytes.HasPrefix(content, []byte{0xff, 0xd8}) {
		t.Errorf("drawn: %q, %v", content, err)
	}
	d, err := newDesk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.lay(request{Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.lay(request{Path: path}); err == nil {
		t.Error("a second file is laid over the first")
	}
}
