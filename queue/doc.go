// Package queue decides who runs now, who waits and who is refused. It knows
// nothing of HTTP.
//
// A [Queue] has a limit of slots and a bounded number of waiting places. Whoever
// finds a free slot takes it; otherwise they wait in line, and a slot that comes
// free goes straight to whose turn it is. Newcomers never pass those who wait.
// What ends a wait early: the longest waiting time, a deadline that cannot be met
// any more, the waiter's own Cancel, and Close.
//
// Whose turn it is, is decided three times: which class (class.go: guaranteed shares
// first, then who may borrow), which lane of it (they take turns, so that one key
// cannot fill the line for all), and who in the lane: the first, or under overload the
// newest (adaptive.go).
//
// All state is under one mutex that is held for some ten nanoseconds, so that the
// limit, the line and the slots are always seen together: at no instant are there
// more slots out than the limit allows (the moment after SetLimit made it smaller
// excepted: the surplus drains), and a free slot never lies beside a waiter who may
// have it.
//
// A [Gradient] estimates the limit of a function whose capacity nobody knows, a
// [Meter] tells autoscalers what the queue sees.
package queue
