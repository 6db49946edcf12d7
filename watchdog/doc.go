// Package watchdog runs the processes fnpod starts: functions and language
// workers.
//
// Start begins one process in a group of its own. Its death is seen through a
// pidfd in Go's network poller, its exit status is collected by its own pid
// and never by a wait for any child, its output arrives as lines of bounded
// length and rate, and ending it ends everything it started. Supervisor keeps
// a long-lived function running, Probe tells whether it is up, and Reaper
// collects the orphans that process 1 inherits.
//
// Fork runs a process for each request instead. The request's own goroutine
// starts it (fork_start.go), waits in poll(2) for all that can happen to it
// (fork_serve.go) and passes its output on (fork_output.go) and its log
// (fork_log.go); only a body that is still coming has a goroutine of its own
// (fork_upload.go). What a request may put into an environment is decided in
// fork_env.go and fork_cgi.go. Processes that wait for their request are kept by
// fork_ahead.go, unless load_linux.go finds the processors saturated; those of
// scripts may be forked from a warm process (zygote_linux.go, folder zygote).
package watchdog
