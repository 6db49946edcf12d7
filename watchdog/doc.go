// Package watchdog runs the processes fnpod starts: functions and language
// workers.
//
// Start begins one process in a group of its own. Its death is seen through a
// pidfd in Go's network poller, its exit status is collected by its own pid
// and never by a wait for any child, its output arrives as lines of bounded
// length and rate, and ending it ends everything it started. Supervisor keeps
// a long-lived function running, Probe tells whether it is up, and Reaper
// collects the orphans that process 1 inherits.
package watchdog
