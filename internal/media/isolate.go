package media

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// confine bounds what the process may use, before any input.
func confine(cfg workerConfig) error {
	// RLIMIT_DATA counts private writable memory only: RLIMIT_AS would also count
	// what the Go runtime and shared libraries merely reserve.
	// What the process has already, before any input, does not count.
	memory := uint64(dataBytes() + cfg.MemoryLimit)
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_DATA:   memory,
		unix.RLIMIT_CORE:   0, // a core file would hold a photo
		unix.RLIMIT_NOFILE: maxOpenFiles,
		unix.RLIMIT_FSIZE:  uint64(8*cfg.MaxPixels + maxFileBase),
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit resource %d: %w", resource, err)
		}
	}
	dieOf(unix.SIGXCPU)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, thread := range threads {
		if id, err := strconv.Atoi(thread.Name()); err == nil {
			unix.Setpriority(unix.PRIO_PROCESS, id, 5) // the server goes first; a thread may have ended meanwhile
		}
	}
	return nil
}

const (
	maxOpenFiles = 256
	// maxFileBase is what a file may have beside eight bytes for each pixel, the
	// most that libvips keeps on disk of one.
	maxFileBase = 256 << 20
)

// allowTime lets the process, and each program it starts, use a job's time on every
// processor it may use. The server's clock ends a job earlier; this one also runs
// where nobody watches.
func allowTime(seconds int64) error {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("limit processor time: %w", err)
	}
	limit := uint64(usage.Utime.Sec + usage.Stime.Sec + 2*seconds + 1)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}); err != nil {
		return fmt.Errorf("limit processor time: %w", err)
	}
	return nil
}

// closeInherited closes the files that the server, or who started it, left open to
// its programs. Those of the Go runtime do not survive exec, hence the flag.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// isolate takes from the process, for good, what it does not need: files other than
// programs, libraries and its desk; sockets; other processes; and the rarely used
// parts of the kernel. It returns what this kernel cannot take away, "" when it is
// nothing.
func isolate(d desk) (missing string) {
	var lacks []string
	for what, err := range map[string]error{"files and signals": restrictFiles(d), "sockets and other processes": restrictCalls()} {
		if err != nil {
			lacks = append(lacks, what+": "+err.Error())
		}
	}
	return strings.Join(lacks, "; ")
}

// restrictFiles uses Landlock (https://docs.kernel.org/userspace-api/landlock.html),
// as far as the kernel knows it.
func restrictFiles(d desk) error {
	if version, err := llsys.LandlockGetABIVersion(); err != nil || version < 1 {
		return errors.New("the kernel has no Landlock")
	}
	const write = llsys.AccessFSReadFile | llsys.AccessFSReadDir | llsys.AccessFSWriteFile | llsys.AccessFSMakeReg | llsys.AccessFSRemoveFile | llsys.AccessFSTruncate
	err := landlock.V11.BestEffort().Restrict(
		landlock.RODirs(programFolders()...).IgnoreIfMissing(),
		landlock.ROFiles("/etc/ld.so.cache", "/dev/urandom").IgnoreIfMissing(),
		landlock.RODirs("/proc/self", "/sys/devices/system/cpu").IgnoreIfMissing(), // its own memory use; how many processors there are
		landlock.RWFiles("/dev/null"),
		landlock.RODirs(d.in()),
		landlock.PathAccess(write, d.out()),
	)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// programFolders hold programs and libraries: the usual ones, and where ffmpeg is
// elsewhere, its own with the libraries beside it.
func programFolders() []string {
	folders := []string{"/usr", "/lib", "/lib64", "/bin", "/nix/store", "/gnu/store"}
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				bin := filepath.Dir(path)
				folders = append(folders, bin, filepath.Join(bin, "../lib"), filepath.Join(bin, "../lib64"))
			}
		}
	}
	for _, folder := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		if filepath.IsAbs(folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}

// forbidden are the system calls that reach the network, other processes, or parts
// of the kernel in which many mistakes were found and which decoding never needs.
var forbidden = []uint32{
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_CHROOT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD,
}

// architectures are those whose call numbers forbidden has, by their name in
// seccomp.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// restrictCalls lets the forbidden calls fail with EPERM in all threads, and in the
// programs that they start (seccomp(2)).
func restrictCalls() error {
	architecture, ok := architectures[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no list of calls for %s", runtime.GOARCH)
	}
	const (
		load         = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpIfEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jumpIfAtMost = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		giveBack     = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data.
		numberAt, architectureAt = 0, 4
		// x32SyscallBit marks calls by another table of numbers on amd64.
		x32SyscallBit = 0x40000000
	)
	n := uint8(len(forbidden))
	program := []unix.SockFilter{
		{Code: load, K: architectureAt},
		{Code: jumpIfEqual, K: architecture, Jf: n + 3}, // another table of numbers: forbidden
		{Code: load, K: numberAt},
		{Code: jumpIfAtMost, K: x32SyscallBit, Jt: n + 1},
	}
	for i, call := range forbidden {
		program = append(program, unix.SockFilter{Code: jumpIfEqual, K: call, Jt: n - uint8(i)})
	}
	program = append(program,
		unix.SockFilter{Code: giveBack, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: giveBack, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
