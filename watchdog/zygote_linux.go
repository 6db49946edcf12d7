package watchdog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/watchdog/zygote"
)

// Bounds of a zygote. A fork copies the page tables, 40 µs for each MiB, and a thread is not copied at all.
const (
	zygoteMostRSS = 200 << 20
	zygoteStart   = 60 * time.Second // until it has imported everything
	zygoteAnswer  = 10 * time.Second // to a command
	zygoteEnd     = time.Second      // after the last command
)

// errUnfit means that a process is none to fork from, and will not become one.
var errUnfit = errors.New("not fit to be forked")

// warm is a zygote: a process of the interpreter that forks a process for each request. Its children are its own: it
// collects them when it is told to, so their numbers stay theirs until then. When it dies they are handed to us.
// Methods may be called by several goroutines.
type warm struct {
	f    *Fork
	proc *Process
	dead atomic.Bool

	mu sync.Mutex // a command and its answer

	using sync.RWMutex // against close
	fd    int          // guarded by using; the socket with commands; -1 when it is closed
}

// startWarm starts a zygote and waits until it has imported everything, or ctx ends.
func (f *Fork) startWarm(ctx context.Context) (*warm, error) {
	if !adopts() {
		return nil, fmt.Errorf("%w: its children would not come to us when it ends", errUnfit)
	}
	argv, source, _ := zygote.For(f.cfg.Args, f.cfg.load())
	program, err := MemoryFile("fnpod-zygote", source)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	peer := os.NewFile(uintptr(theirs), "zygote")
	defer peer.Close()
	w := &warm{f: f, fd: ours}
	if err := w.start(argv, peer, program); err != nil {
		w.close()
		return nil, err
	}
	_ = peer.Close() // so that its end is an end
	stop := context.AfterFunc(ctx, w.proc.Kill)
	defer stop()
	if err := w.ready(); err != nil {
		w.end()
		switch exit := w.proc.Exit(); {
		case exit.Code == zygote.TooOld:
			err = fmt.Errorf("%w: the interpreter is too old", errUnfit)
		case errors.Is(err, errNoAnswer):
			err = fmt.Errorf("%w: %v", err, exit)
		}
		return nil, err
	}
	return w, nil
}

func (w *warm) start(argv []string, peer, program *os.File) error {
	c := &w.f.cfg
	input, end, err := os.Pipe() // like a request's, with nothing in it
	if err != nil {
		return err
	}
	defer input.Close()
	_ = end.Close() // an end is all it is for
	config := Config{
		Path: c.Path, Args: argv, Env: w.f.base.entries, Dir: c.Dir, Extra: []*os.File{peer, program, c.Script}, Stdin: input,
		Grace: c.Grace, OutputRate: c.OutputRate, Lines: c.Lines, OOMScoreAdj: c.OOMScoreAdj, Log: c.Log,
	}
	if c.Output != nil {
		config.Output = func(l Line) { c.Output("", l) }
	}
	w.proc, err = Start(config)
	return err
}

// ready waits for it and judges it.
func (w *warm) ready() error {
	w.limit(cmp.Or(w.f.cfg.StartTimeout, zygoteStart))
	answer, err := w.read()
	if err != nil {
		return err
	}
	w.limit(zygoteAnswer)
	text, _ := strings.CutPrefix(answer, "ready ")
	own, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("zygote said %q", answer)
	}
	if w.f.cfg.Resident {
		return nil
	}
	tasks, err := os.ReadDir(procPath(w.proc.pid, "task"))
	if err != nil {
		return err
	}
	if n := len(tasks) - own; n > 0 {
		return fmt.Errorf("%w: its imports started threads: %d", errUnfit, n)
	}
	if n := sockets(w.proc.pid); n > 0 {
		return fmt.Errorf("%w: its imports opened connections, which all its children would share: %d", errUnfit, n)
	}
	rss, err := RSS(w.proc.pid)
	if err == nil && rss > zygoteMostRSS {
		err = fmt.Errorf("%w: %d MiB of memory after its imports", errUnfit, rss>>20)
	}
	return err
}

// sockets counts the sockets of a zygote besides the one for commands; 0 if that cannot be seen.
func sockets(pid int) (n int) {
	names, _ := os.ReadDir(procPath(pid, "fd")) // empty with an error
	for _, name := range names {
		to, err := os.Readlink(procPath(pid, "fd/"+name.Name()))
		if fd, _ := strconv.Atoi(name.Name()); err == nil && fd > 3 && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// socketPair makes a connection that keeps messages apart.
func socketPair() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], err
}

// limit bounds how long read waits.
func (w *warm) limit(d time.Duration) {
	t := unix.NsecToTimeval(int64(d))
	_ = unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t) // the socket is new and ours
}

func (w *warm) read() (string, error) {
	var room [64]byte
	for {
		n, err := unix.Read(w.fd, room[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err == nil && n > 0:
			return string(room[:n]), nil
		case errors.Is(err, unix.EAGAIN):
			return "", errors.New("zygote does not answer")
		default:
			return "", fmt.Errorf("zygote ended: %w", errors.Join(err, errNoAnswer))
		}
	}
}

var errNoAnswer = errors.New("no answer")

// call gives a command and returns its answer. A zygote that does not answer is given up.
func (w *warm) call(command string, files ...int) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.using.RLock()
	defer w.using.RUnlock()
	if w.fd < 0 || w.dead.Load() {
		return "", errNoAnswer
	}
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	err := unix.Sendmsg(w.fd, []byte(command), rights, nil, unix.MSG_NOSIGNAL)
	var answer string
	if err == nil {
		answer, err = w.read()
	}
	if err != nil {
		w.dead.Store(true)
		w.f.ahead.unsettle(w)
		w.f.ahead.wakeUp()
	}
	return answer, err
}

// fork starts a process that waits for its request.
func (w *warm) fork() (*waiting, error) {
	ours, theirs, err := w.f.cfg.pipes(true)
	defer theirs.close()
	if err == nil {
		err = unix.SetNonblock(int(ours.stdin), true)
	}
	if err != nil {
		ours.close()
		return nil, err
	}
	mine, its, err := socketPair()
	if err != nil {
		ours.close()
		return nil, err
	}
	defer unix.Close(its)
	if err := unix.SetNonblock(mine, true); err != nil {
		_ = unix.Close(mine) // nobody knows of it
		ours.close()
		return nil, err
	}
	mark := newMark()
	pid, err := children.start(mark, func() (int, error) {
		answer, err := w.call("fork "+mark, its, int(theirs.list[0]), int(theirs.list[1]), int(theirs.list[2]))
		if err != nil {
			return 0, err
		}
		return w.pid(answer)
	})
	pidfd := -1
	if err == nil {
		pidfd, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		_ = unix.Close(mine) // then the process, if there is one, ends
		ours.close()
		return nil, err
	}
	w.f.started()
	p := &Process{pid: pid, grace: w.f.cfg.Grace, log: w.f.cfg.Log, mark: mark, killed: make(chan struct{}), parent: w}
	return &waiting{proc: p, pidfd: int32(pidfd), ours: ours, status: int32(mine), since: w.f.now()}, nil
}

// pid reads the number of a new child. What a function imports runs in the zygote, and who is to be killed later is no
// matter to believe: it must be a child of the zygote that leads its group.
func (w *warm) pid(answer string) (int, error) {
	n, err := strconv.Atoi(answer)
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, syscall.Errno(-n)
	}
	if s, err := readStat(n); err != nil || s.parent != w.proc.pid || s.group != n {
		return 0, fmt.Errorf("zygote said that %d is its child", n)
	}
	return n, nil
}

// how tells how a child ended. It stays a zombie.
func (w *warm) how(pid int) Exit {
	answer, err := w.call("how " + strconv.Itoa(pid))
	if err != nil {
		info, err := waitid(unix.P_PID, pid, unix.WNOHANG|unix.WNOWAIT) // it is ours now
		if err != nil || info.pid == 0 {
			return Exit{Code: -1}
		}
		return info.exit()
	}
	kind, text, _ := strings.Cut(answer, " ")
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return Exit{Code: -1}
	case kind == "signal":
		return Exit{Code: -1, Signal: syscall.Signal(n)}
	default:
		return Exit{Code: n}
	}
}

// collect has a child collected.
func (w *warm) collect(pid int) {
	w.using.RLock()
	defer w.using.RUnlock()
	if w.fd >= 0 && unix.Sendmsg(w.fd, []byte("end "+strconv.Itoa(pid)), nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT) == nil {
		return
	}
	_, _ = waitid(unix.P_PID, pid, unix.WNOHANG) // it is ours now, or the zygote's until that ends
}

// end ends the zygote, which first collects whom it was told to. Its other children go on.
func (w *warm) end() {
	w.dead.Store(true)
	_ = unix.Shutdown(w.fd, unix.SHUT_WR) // fails when it has ended
	kill := time.AfterFunc(zygoteEnd, w.proc.Kill)
	<-w.proc.Done()
	kill.Stop()
	w.close()
}

func (w *warm) close() {
	w.using.Lock()
	defer w.using.Unlock()
	if w.fd >= 0 {
		_ = unix.Close(w.fd) // all is said
		w.fd = -1
	}
}

// request gives a child of a zygote the variables of its request, which are the last ones of env but for the mark.
func (r *forked) request(env []string) {
	r.block = r.block[:0]
	for _, entry := range env {
		r.block = append(append(r.block, entry...), 0)
	}
	if len(env) == 0 {
		r.block = append(r.block, 0)
	}
	_ = unix.Sendmsg(int(r.fds[onStatus].Fd), r.block, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT) // fails when it is dead, which is seen
}

// hear takes the exit code that a child of a zygote tells when it has done all.
func (r *forked) hear() {
	var code [1]byte
	n, err := unix.Read(int(r.fds[onStatus].Fd), code[:])
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return
	}
	r.closeFile(onStatus)
	if n == 1 && !r.exited {
		r.pidfd, r.fds[onExit].Fd = r.fds[onExit].Fd, -1
		r.over(Exit{Code: int(code[0])})
	}
}
