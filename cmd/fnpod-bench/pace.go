package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pace sends requests at a constant rate for d, whether or not answers come: an open loop. A request that is due while all
// connections are busy is sent by the first that is free, and its time counts from when it was due, so that a server
// that stalls cannot hide the requests that would have come meanwhile (coordinated omission).
func (l *load) pace(ctx context.Context, perSecond float64, d time.Duration) (r *loadResult, err error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	defer syscall.Close(timer)
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, timer, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(timer)}); err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	p := &pacer{
		load: l, result: &loadResult{}, timer: timer,
		begin: time.Now(), gap: float64(time.Second) / perSecond, total: int(perSecond * d.Seconds()),
	}
	for i := range l.conns {
		p.free = append(p.free, &l.conns[i])
	}
	for p.sent < p.total || l.waiting > 0 {
		if err := p.sendDue(); err != nil {
			return nil, err
		}
		if err := p.step(ctx); err != nil {
			return nil, err
		}
	}
	p.result.elapsed = time.Since(p.begin)
	return p.result, nil
}

// pacer is a load in an open loop.
type pacer struct {
	*load
	result *loadResult
	timer  int // a timerfd in the set of the load
	begin  time.Time
	gap    float64 // nanoseconds between requests
	sent   int
	total  int
	free   []*loadConn
}

// due is when request i is to be sent.
func (p *pacer) due(i int) time.Time { return p.begin.Add(time.Duration(float64(i) * p.gap)) }

// sendDue sends what is due as far as connections are free, and sets the timer for the next.
func (p *pacer) sendDue() error {
	for len(p.free) > 0 && p.sent < p.total {
		due := p.due(p.sent)
		if wait := time.Until(due); wait > 0 {
			return unix.TimerfdSettime(p.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil)
		}
		c := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.sent++
		if err := p.send(c, due); err != nil {
			return err
		}
	}
	return nil
}

// step waits for the timer or for answers.
func (p *pacer) step(ctx context.Context) error {
	events, err := p.wait(ctx)
	if err != nil {
		return err
	}
	for _, event := range events {
		if int(event.Fd) == p.timer {
			var expirations [8]byte
			_, _ = syscall.Read(p.timer, expirations[:]) // how often it fired does not matter: what is due is told by the clock
			continue
		}
		done, err := p.serve(event)
		if err != nil {
			return err
		}
		if done == nil {
			continue
		}
		p.result.requests++
		p.result.latency.add(time.Since(done.sent))
		p.free = append(p.free, done)
	}
	return nil
}
