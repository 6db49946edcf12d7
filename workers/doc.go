// Package workers runs functions in warm processes: a pool of language workers,
// each with the function loaded, that get one request after the other.
//
// The life of a request, in the order of the code:
//
//	Pool.Do            take an idle worker, newest first, or wait in line       pool.go, line.go
//	worker.serve       register for interruption                                serve.go
//	call.run           from the request to the last frame of its answer         call.go
//	call.begin         write the REQUEST frame: head, and body or body lane     request.go, lane.go
//	call.turn          park on the answer pipe, take frames apart               channel.go, frame.go
//	call.answer        hand status, fields and body to the Exchange             answer.go
//	call.giveUp        what becomes of it when its client leaves                giveup.go
//	Pool.release       worker idle again, handed to the next in line, or buried pool.go
//
// A worker whose handler is async runs several requests at once. Then a goroutine reads
// for all of them (shared.go), each request is a slot with its inbox (slot.go), and one
// that does not end does not take the others along (condemn.go).
//
// Before a worker counts as ready it may have requests to answer (warmup.go). When the
// files of the function change, one worker of the new version goes before the others
// (watch.go, reload.go).
//
// The life of a worker: Pool.tend decides how many there are (scale.go), nurse
// starts one and waits for its end (nurse.go, start.go), language.go, command.go
// and compile.go say which program that is. The bytes between the two processes are
// described in docs/worker-protocol.md.
//
// A worker that breaks the protocol, overstays a deadline or dies is killed with
// its process group and replaced. It takes its own request with it and no other.
package workers
