// Package metrics counts what happens and shows it: counters and histograms that
// cost a few nanoseconds on the path of a request, rendered for Prometheus only
// when somebody asks, and the admin server that answers them.
//
// Every series is named once, in the table of metrics.go. All labels have closed
// sets of values, so the number of series never depends on traffic (M1, M2).
package metrics
