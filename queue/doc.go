// Package queue decides who runs now, who waits and who is refused. It knows
// nothing of HTTP.
//
// A [Queue] has a limit of slots and a bounded number of waiting places. Whoever
// finds a free slot takes it; otherwise they wait in order of arrival, and a slot
// that comes free goes straight to the first of them. Newcomers never pass those
// who wait. Three things end a wait early: the longest waiting time, the waiter's
// own Cancel, and Close.
//
// All state is under one mutex that is held for some ten nanoseconds, so that the
// limit, the line and the slots are always seen together: at no instant are there
// more slots out than the limit allows (the moment after SetLimit made it smaller
// excepted: the surplus drains), and a free slot never lies beside a waiter.
package queue
