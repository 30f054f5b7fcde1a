package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tracer stops a process at its n-th write to files below a directory and
// kills it there, before the kernel carries the write out. strace counts such
// calls by thread, which says nothing about a Go program; so the test's own binary
// is the tracer, in a process of its own, counting over all threads.

const tracerVariable = "MINTMARK_E2E_TRACER"

func init() {
	if of := os.Getenv(tracerVariable); of != "" {
		if err := traceMain(of, os.Stdin, os.Stdout); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// tracer is the test's end of it.
type tracer struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

// trace attaches to a process; the writes counted are those to files below dir.
func trace(t testing.TB, pid int, dir string) *tracer {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d:%s", tracerVariable, pid, dir))
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	tr := &tracer{cmd: cmd, in: in, lines: make(chan string, 4096)}
	go func() { // ends with the tracer, which ends with its standard input
		s := bufio.NewScanner(out)
		for s.Scan() {
			tr.lines <- s.Text()
		}
		close(tr.lines)
	}()
	t.Cleanup(tr.close)
	if got := tr.line(10 * time.Second); got != "attached" {
		tr.close()
		if strings.Contains(got, unix.EPERM.Error()) {
			t.Skip("tracing other processes is not permitted here (kernel.yama.ptrace_scope)")
		}
		t.Fatalf("tracer: %q", got)
	}
	return tr
}

func (tr *tracer) line(patience time.Duration) string {
	select {
	case l, ok := <-tr.lines:
		if !ok {
			return "ended"
		}
		return l
	case <-time.After(patience):
		return "silent"
	}
}

// arm starts counting from zero; the process dies at write n. 0 only counts.
func (tr *tracer) arm(t testing.TB, n int) {
	t.Helper()
	tr.order(t, strconv.Itoa(n))
}

// order sends a line and waits until it is in force.
func (tr *tracer) order(t testing.TB, line string) {
	t.Helper()
	_, err := fmt.Fprintln(tr.in, line)
	must(t, err)
	for {
		switch l := tr.line(10 * time.Second); {
		case l == "armed":
			return
		case !strings.HasPrefix(l, "write"):
			t.Fatalf("tracer: %q", l)
		}
	}
}

// fail is arm, but write n fails with EIO instead, and the process lives.
func (tr *tracer) fail(t testing.TB, n int) {
	t.Helper()
	tr.order(t, fmt.Sprint("fail ", n))
}

// disarm ends counting. It returns what was written since arm, in order, and
// whether the process was killed at the last one.
func (tr *tracer) disarm(t testing.TB) (list []string, killed bool) {
	t.Helper()
	_, _ = fmt.Fprintln(tr.in, -1) // fails when the process, and so the tracer, has ended
	for {
		switch l := tr.line(10 * time.Second); {
		case l == "killed":
			return list, true
		case l == "armed":
			return list, false
		case strings.HasPrefix(l, "write"):
			list = append(list, l)
		default:
			t.Fatalf("tracer: %q", l)
		}
	}
}

// close lets the process go on untraced.
func (tr *tracer) close() {
	_ = tr.in.Close()
	_ = tr.cmd.Wait()
}

// traceMain is the tracer's own process.
func traceMain(of string, in io.Reader, out io.Writer) error {
	id, dir, _ := strings.Cut(of, ":")
	pid, err := strconv.Atoi(id)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // all of ptrace is by thread
	if err := seize(pid); err != nil {
		return err
	}
	fmt.Fprintln(out, "attached")
	var at, seen atomic.Int64
	var lives atomic.Bool
	failing := map[int]bool{} // threads in a call that is to fail
	at.Store(-1)
	go func() {
		s := bufio.NewScanner(in)
		for s.Scan() {
			text, fails := strings.CutPrefix(s.Text(), "fail ")
			n, _ := strconv.ParseInt(text, 10, 64)
			lives.Store(fails)
			seen.Store(0)
			at.Store(n)
			fmt.Fprintln(out, "armed")
		}
		os.Exit(0) // the kernel detaches and lets the process go on
	}()
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil // nobody left: it ended
		case !status.Stopped():
			continue
		}
		deliver := 0
		switch sig := status.StopSignal(); {
		case sig == unix.SIGTRAP|0x80:
			if failing[tid] {
				delete(failing, tid)
				_ = answerCall(tid, unix.EIO)
			} else if n := at.Load(); n >= 0 {
				if what := write(pid, tid, dir); what != "" {
					k := seen.Add(1)
					fmt.Fprintf(out, "write %d %s\n", k, what)
					if k == n && lives.Load() {
						failing[tid] = skipCall(tid) == nil
					} else if k == n {
						at.Store(-1)
						fmt.Fprintln(out, "killed") // first: who sees the process gone finds this line
						_ = unix.Kill(pid, unix.SIGKILL)
						continue
					}
				}
			}
		case status>>16 != 0: // an event: a new thread, an interruption
		default:
			deliver = int(sig)
		}
		_ = unix.PtraceSyscall(tid, deliver) // a thread that just died is nobody's loss
	}
}

// seize attaches to all threads, and to those that they start.
func seize(pid int) error {
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	had := map[int]bool{}
	for range 20 {
		more := false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			if had[tid] {
				continue
			}
			had[tid], more = true, true
			_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, options, 0, 0)
			if e != 0 {
				if e == unix.ESRCH || len(had) > 1 { // gone, or traced already as a child
					continue
				}
				return e
			}
			if err := unix.PtraceInterrupt(tid); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
	return nil
}

// syscallInfo is struct ptrace_syscall_info at a syscall's entry.
type syscallInfo struct {
	op   uint8
	_    [23]byte
	nr   uint64
	args [6]uint64
	_    [24]byte
}

var writing = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync",
	unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FTRUNCATE: "ftruncate",
}

// write says which write to a file below dir a thread is about to make; "" when it
// is none.
func write(pid, tid int, dir string) string {
	var i syscallInfo
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0)
	if e != 0 || i.op != unix.PTRACE_SYSCALL_INFO_ENTRY || writing[i.nr] == "" {
		return ""
	}
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, i.args[0]))
	if err != nil || filepath.Dir(file) != dir {
		return ""
	}
	return fmt.Sprintf("%s %s %d bytes at %d", writing[i.nr], filepath.Base(file), i.args[2], i.args[3])
}
