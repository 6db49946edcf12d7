// Package hostile is the raw side of the robustness contract: one table of conversations, byte for byte, that a server
// in front of a function has to survive, and what plays and judges them over real sockets. It knows nothing of fnpod,
// so that other servers can be held to the same table.
//
//	case.go      Case: what is sent, what must come of it
//	build.go     short forms in which the tables are written
//	table_*.go   the cases, a file for each side of the contract; Cases returns all
//	message.go   a strict reader of messages, for both ends of the server
//	function.go  Function: the server behind, which records what reaches it
//	script.go    Script: how a function answers that does not behave
//	client.go    the client's side of one conversation
//	run.go       Runner.Run: a Case becomes an Outcome
//	judge.go     Exact and Safe: two judgements of an Outcome
//	mutate.go    Mutations: bytes of the table, damaged in a reproducible way
//	compare.go   Differ: whether two servers read the same bytes differently
//	peers.go     nginx and HAProxy, configured for the same task
package hostile
