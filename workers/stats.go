package workers

// Stats is the state of a pool at one moment. The counters only grow.
type Stats struct {
	Starting int // workers that are not ready yet
	Idle     int // workers that wait for a request
	Busy     int // workers that run one
	Leaving  int // workers that were told to end, or were killed, and are not gone yet
	Stuck    int // workers that were killed and do not end; none of the others
	Waiting  int // requests that wait for a worker

	Starts   uint64          // processes started
	Failures uint64          // starts that did not lead to a ready worker
	Requests uint64          // requests given to a worker
	Failed   uint64          // requests that the function answered by raising
	Ends     [Reasons]uint64 // workers that ended, by Reason
	Dropped  uint64          // bytes of output that came too fast to be logged
}

// Stats returns the state of the pool. Any goroutine may call it.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Waiting = p.line.n
	for w := range p.workers {
		if w.stuck {
			s.Stuck++
			continue
		}
		switch w.state {
		case starting:
			s.Starting++
		case idle:
			s.Idle++
		case busy:
			s.Busy++
		case leaving:
			s.Leaving++
		}
	}
	return s
}
