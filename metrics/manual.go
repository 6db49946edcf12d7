package metrics

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

const manualHead = `# Metrics

All series that fnpod exposes on ` + "`/metrics`" + ` of its admin port, in the Prometheus text format or in OpenMetrics,
whichever the scraper asks for. This file is written by ` + "`go test ./metrics -update`" + `; edit ` + "`metrics/metrics.go`" + `.

Labels have closed sets of values: the number of series is the same whatever the traffic. Series that belong to a part that
is not in use (workers, a function process) are absent. Next to these there are the usual ` + "`go_*`" + ` and ` + "`process_*`" + ` series.

At any scrape, requests add up:

` + "```" + `
fnpod_requests_accepted_total = sum of fnpod_requests_total + fnpod_requests_client_gone_total
                              + fnpod_requests_aborted_total + fnpod_requests_in_flight
` + "```" + `

Requests that we turned away (` + "`fnpod_rejected_total`" + `) are in the sum too, under the status they were answered with, except those with
reason ` + "`conn_limit`" + ` and those whose client left inside the head, which never began.

| name | type | unit | labels | meaning |
|---|---|---|---|---|
`

// WriteManual writes the table of all series as Markdown.
func WriteManual(w io.Writer) error {
	b := bufio.NewWriter(w)
	_, _ = b.WriteString(manualHead)
	for _, t := range table {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", t.name, t.kind, t.unit, manualLabels(t.labels), t.help)
	}
	_, _ = b.WriteString("\nBuckets of all histograms, upper ends in seconds:")
	for _, d := range bounds[:len(bounds)-1] {
		fmt.Fprintf(b, " %g", d.Seconds())
	}
	_, _ = b.WriteString(".\n")
	return b.Flush() // reports the first error of all the writes above
}

func manualLabels(labels []label) string {
	var parts []string
	for _, l := range labels {
		part := "`" + l.name + "`"
		if l.values != nil {
			part += ": " + strings.Join(l.values, ", ")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
