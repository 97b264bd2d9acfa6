package media

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	version, err := llsys.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return errors.New("the kernel has no Landlock")
	}
	const write = llsys.AccessFSReadFile | llsys.AccessFSReadDir | llsys.AccessFSWriteFile | llsys.AccessFSMakeReg | llsys.AccessFSRemoveFile | llsys.AccessFSTruncate
	err = landlock.V11.BestEffort().Restrict(
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
	if version < 6 {
		return errors.New("the kernel's Landlock keeps no signals back, as that of Linux 6.12 does")
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
// of the kernel in which many mistakes were found and which decoding never needs;
// those of files to which Landlock does not see; and those by which something
// outlives the job. See also forbiddenHere.
var forbidden = []uint32{
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_PROCESS_MADVISE,
	unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_VMSPLICE, unix.SYS_FANOTIFY_INIT,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOUNT_SETATTR,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	// Mode, owner, times and attributes. An original that is lent by a hard link has
	// them in common with it. Landlock sees to truncate from Linux 6.2 on.
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE, unix.SYS_FILE_SETATTR,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_SETXATTRAT, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_REMOVEXATTRAT,
	// Processes that leave the group, which ends as a whole; memory that has no owner;
	// programs in memory, which Landlock takes for files of nowhere.
	unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN, unix.SYS_MEMFD_CREATE,
}

// absent are the calls whose arguments a filter cannot read. Who uses them knows an
// older one, which it tries when the kernel has not this one.
var absent = []uint32{unix.SYS_CLONE3, unix.SYS_OPENAT2}

// namespaces are the flags of clone by which a process becomes another user's.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Where a jump of the filter leads, beside a number of steps.
const (
	allow = -1 - iota
	refuse
	unknown
)

// step is an instruction of the filter; the jumps are for true and false.
type step struct {
	code        uint16
	k           uint32
	then, other int
}

// restrictCalls lets the forbidden calls fail with EPERM in all threads, and in the
// programs that they start (seccomp(2)).
func restrictCalls() error {
	if architecture == 0 {
		return fmt.Errorf("no list of calls for %s", runtime.GOARCH)
	}
	const (
		load      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		mask      = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		ifEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ifAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ifAny     = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		giveBack  = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data; of an argument the lower half.
		numberAt, architectureAt, argumentAt, argumentSize = 0, 4, 16, 8
		// x32SyscallBit marks calls by another table of numbers on amd64.
		x32SyscallBit = 0x40000000
	)
	steps := []step{
		{code: load, k: architectureAt},
		{code: ifEqual, k: architecture, other: refuse}, // another table of numbers
		{code: load, k: numberAt},
		{code: ifAtLeast, k: x32SyscallBit, then: refuse},
	}
	for _, call := range slices.Concat(forbidden, forbiddenHere) {
		steps = append(steps, step{code: ifEqual, k: call, then: refuse})
	}
	for _, call := range absent {
		steps = append(steps, step{code: ifEqual, k: call, then: unknown})
	}
	// when looks at an argument of a call, unless it is another call.
	when := func(call, argument uint32, look ...step) {
		steps = append(steps, step{code: ifEqual, k: call, other: 1 + len(look)}, step{code: load, k: argumentAt + argumentSize*argument})
		steps = append(steps, look...)
	}
	when(unix.SYS_CLONE, 0, step{code: ifAny, k: namespaces, then: refuse, other: allow})
	for _, call := range []uint32{unix.SYS_PRLIMIT64, unix.SYS_SCHED_SETATTR} { // of itself alone
		when(call, 0, step{code: ifEqual, k: 0, then: allow, other: refuse})
	}
	for call, flags := range opening { // to cut off takes no right to write, before Linux 6.2
		when(call, flags, step{code: mask, k: unix.O_TRUNC | unix.O_ACCMODE}, step{code: ifEqual, k: unix.O_TRUNC | unix.O_RDONLY, then: refuse, other: allow})
	}
	if len(steps) > math.MaxUint8 {
		return errors.New("seccomp: the filter is longer than its jumps")
	}
	program := make([]unix.SockFilter, len(steps), len(steps)+3)
	for i, s := range steps {
		lead := func(jump int) uint8 {
			if jump < 0 {
				jump = len(steps) - i - 2 - jump
			}
			return uint8(jump)
		}
		program[i] = unix.SockFilter{Code: s.code, K: s.k, Jt: lead(s.then), Jf: lead(s.other)}
	}
	program = append(program, // allow, refuse, unknown
		unix.SockFilter{Code: giveBack, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: giveBack, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		unix.SockFilter{Code: giveBack, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
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
