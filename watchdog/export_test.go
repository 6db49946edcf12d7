package watchdog

import (
	"syscall"
	"time"
)

// Child is what SetBegin's function returns.
type Child = child

// SetBegin replaces Start.
func (s *Supervisor) SetBegin(begin func(Config) (Child, error)) { s.begin = begin }

// AwaitExitAndReap sees an unregistered child through as Process does.
func AwaitExitAndReap(pid, pidfd int) Exit {
	awaitExit(pid, pidfd)
	return reap(pid)
}

// StatusOf reads a status line.
func StatusOf(line []byte) (int, bool) { return statusOf(line) }

// ProbeRequest returns what an HTTP probe sends.
func ProbeRequest(p Probe) string { return p.request() }

// ParseStat reads the contents of a stat file.
func ParseStat(b []byte) (state byte, parent, group int, err error) {
	s, err := parseStat(b)
	return s.state, s.parent, s.group, err
}

// Lines cuts a stream into lines.
type Lines struct{ l lines }

// NewLines returns the line reader of a process with c.Output and c.OutputRate.
func NewLines(c Config) *Lines {
	o := &output{deliver: c.Output, failed: func(any) {}}
	o.rate.init(c.OutputRate, time.Now())
	return &Lines{lines{output: o, stream: Stdout, rule: c.Lines, buf: new(buffer)}}
}

// Write feeds b in one read, as far as it fits, and returns how much did.
func (l *Lines) Write(b []byte) int {
	n := copy(l.l.space(), b)
	l.l.add(n)
	return n
}

// Close ends the stream.
func (l *Lines) Close() { l.l.end() }

// SealEach is SealFiles on an old kernel.
var SealEach = sealEach

// ForkExec starts a child that the package does not know of.
func ForkExec(c Config, session bool) (int, error) {
	files := []uintptr{0, 1, 2}
	for _, f := range c.Extra {
		files = append(files, f.Fd())
	}
	return syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{Env: c.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: session}})
}

// Adopted lists our children.
var Adopted = adopted

// VariablesOf returns the environment of a process that runs for x.
func VariablesOf(env []string, credentials bool, x Exchange) ([]string, error) {
	var b base
	b.init(env)
	var v Variables
	v.reset(&b, credentials, 0)
	CGI(&v, x)
	env, _, err := v.build()
	return env, err
}

// What the kernel tells of processor time.
var (
	ParseUsage = parseUsage
	ParseTicks = parseTicks
)

// SetBusy replaces the look at the processors. Call it before Run.
func (f *Fork) SetBusy(busy func() bool) {
	if f.ahead != nil {
		f.ahead.busy = busy
	}
}

// Warm reports whether there is a zygote.
func (f *Fork) Warm() bool { return f.ahead != nil && f.ahead.warm.Load() != nil }

// OOMFilesIn lists where the kernel's count may be.
var OOMFilesIn = oomFiles

// CountOOM sets where the kernel counts. Call it before Run.
func (f *Fork) CountOOM(files ...string) { f.oomFiles = files }

// ZygotePid returns the zygote's process id.
func (f *Fork) ZygotePid() int { return f.ahead.warm.Load().proc.pid }

// FindMemoryRoomIn is FindMemoryRoom for other files.
func FindMemoryRoomIn(root string, groups []byte) MemoryRoom { return findMemoryRoom(root, groups) }
