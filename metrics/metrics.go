package metrics

// ID names a series of our own. Those from BuildInfo on are read from other parts
// of the program at the time of a scrape; see Set.Func.
type ID uint8

// All series, in the order of the manual.
const (
	connections ID = iota
	connectionsOpened
	connectionsClosed
	acceptErrors
	accepted
	answered
	clientGone
	aborted
	inFlight
	tunnels
	rejected
	upstreamErrors
	retries
	panics
	bytesIn
	bytesOut
	queueWait
	firstByte
	runTime
	duration

	BuildInfo            // 1; labels: version, Go version
	Ready                // 1 or 0
	QueueLimit           // slots; 0 means no limit
	QueuePlaces          // waiting places
	RequestsExecuting    // requests that hold a slot
	RequestsQueued       // requests in line
	QueueService         // mean service time in seconds
	Utilisation          // 0 to 1
	Saturation           // offered load by limit
	OfferedLoad          // slots
	SinceLastRequest     // seconds
	SuggestedReplicas    // pods
	SuggestedLimit       // slots
	UpstreamConnections  // label: state
	Workers              // label: state
	WorkersLimit         // most workers
	WorkerStarts         // counter
	WorkerDeaths         // counter; label: reason
	WorkersRecycled      // counter
	FunctionUp           // 1 or 0
	FunctionRestarts     // counter
	Processes            // one per request
	ProcessesWaiting     // for a request
	ProcessesTaken       // counter
	ProcessStarts        // counter
	ProcessFailures      // counter; label: reason
	BrokerConnected      // 1 or 0; label: trigger
	OutputDropped        // counter, bytes
	LogRecordsSuppressed // counter
	LogRecordsDropped    // counter
	OrphansReaped        // counter
)

// kind is the type of a series.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// label is a label with the closed set of its values; nil means values that are
// set once, when the program starts.
type label struct {
	name   string
	values []string
}

// series is one line of the table.
type series struct {
	name   string
	kind   kind
	unit   string
	labels []label
	help   string
}

// table declares every series.
var table = [...]series{
	connections:       {"fnpod_connections", gauge, "connections", nil, "Client connections that are open."},
	connectionsOpened: {"fnpod_connections_opened_total", counter, "connections", nil, "Client connections accepted."},
	connectionsClosed: {"fnpod_connections_closed_total", counter, "connections", nil, "Client connections closed, by either side."},
	acceptErrors:      {"fnpod_accept_errors_total", counter, "errors", nil, "Attempts to accept a connection that failed, for example for want of descriptors."},

	accepted:   {"fnpod_requests_accepted_total", counter, "requests", nil, "Requests that began. At any scrape it is the sum of answered, client gone, aborted and in flight."},
	answered:   {"fnpod_requests_total", counter, "requests", []label{{"code", classes[1:]}}, "Requests answered completely, by class of the final status. 1xx are tunnels that have ended, in whichever way."},
	clientGone: {"fnpod_requests_client_gone_total", counter, "requests", nil, "Requests whose client left before the answer was complete."},
	aborted:    {"fnpod_requests_aborted_total", counter, "requests", nil, "Requests whose answer was cut by us or by the function after it had begun."},
	inFlight:   {"fnpod_requests_in_flight", gauge, "requests", nil, "Requests that began and have not ended."},
	tunnels:    {"fnpod_tunnels", gauge, "tunnels", nil, "WebSocket tunnels that are open. Each is a request in flight that holds a slot."},

	rejected:       {"fnpod_rejected_total", counter, "requests", []label{{"reason", rejectReasons[1:]}}, "Requests and connections turned away by us, by reason."},
	upstreamErrors: {"fnpod_upstream_errors_total", counter, "errors", []label{{"reason", upstreamReasons[1:]}}, "Faults of the function or of the way to it, by reason."},
	retries:        {"fnpod_upstream_retries_total", counter, "requests", nil, "Second attempts, made only where the function cannot have seen the first."},
	panics:         {"fnpod_panics_total", counter, "panics", nil, "Bugs of ours that were caught; the request was answered with 500."},

	bytesIn:  {"fnpod_received_bytes_total", counter, "bytes", nil, "Bytes read from clients, heads and bodies."},
	bytesOut: {"fnpod_sent_bytes_total", counter, "bytes", nil, "Bytes written to clients, heads and bodies."},

	queueWait: {"fnpod_queue_wait_seconds", histogram, "seconds", nil, "Time in line, of requests that were given a slot; 0 for those that did not have to wait."},
	firstByte: {"fnpod_first_byte_seconds", histogram, "seconds", nil, "Time from the slot to the first byte of the function's answer."},
	runTime:   {"fnpod_run_seconds", histogram, "seconds", nil, "Time from the slot to the end of the answer, without tunnels."},
	duration:  {"fnpod_request_duration_seconds", histogram, "seconds", nil, "Time from the first byte of a request to the end of its answer, without tunnels."},

	BuildInfo: {"fnpod_build_info", gauge, "", []label{{"version", nil}, {"go_version", nil}}, "Always 1; the labels tell what is running."},
	Ready:     {"fnpod_ready", gauge, "", nil, "1 when the pod takes requests, 0 when it starts, drains or its function is down."},

	QueueLimit:        {"fnpod_queue_limit", gauge, "requests", nil, "Requests that may run at once; 0 means no limit."},
	QueuePlaces:       {"fnpod_queue_places", gauge, "requests", nil, "Requests that may wait."},
	RequestsExecuting: {"fnpod_requests_executing", gauge, "requests", nil, "Requests that hold a slot."},
	RequestsQueued:    {"fnpod_requests_queued", gauge, "requests", nil, "Requests that wait for a slot."},
	QueueService:      {"fnpod_queue_service_seconds", gauge, "seconds", nil, "Mean time a slot was held, over about the last 16 requests."},

	Utilisation:       {"fnpod_utilisation", gauge, "", nil, "Part of the limit that was in use in the last minute; 0 without a limit."},
	Saturation:        {"fnpod_saturation", gauge, "", nil, "Slots that the arrivals of the last minute need, divided by the limit; more than 1 cannot be served. 0 without a limit."},
	OfferedLoad:       {"fnpod_offered_load", gauge, "requests", nil, "Slots that the arrivals of the last minute need: their rate times the mean service time."},
	SinceLastRequest:  {"fnpod_since_last_request_seconds", gauge, "seconds", nil, "Time since a request last came or ran."},
	SuggestedReplicas: {"fnpod_suggested_replicas", gauge, "pods", nil, "Pods like this one that what arrives here would keep at 70 % utilisation; the sum over all pods is the number of replicas to have."},
	SuggestedLimit:    {"fnpod_suggested_limit", gauge, "requests", nil, "Slots that the highest throughput seen needs, by Little's law; a larger limit only moves the queue into the function."},

	UpstreamConnections: {"fnpod_upstream_connections", gauge, "connections", []label{{"state", []string{"idle", "busy"}}}, "Connections to the function, by state."},

	Workers:         {"fnpod_workers", gauge, "workers", []label{{"state", []string{"starting", "idle", "busy", "stopping", "stuck"}}}, "Warm workers, by state. One that is stuck was killed and does not end; it keeps its place."},
	WorkersLimit:    {"fnpod_workers_limit", gauge, "workers", nil, "Most workers that may exist."},
	WorkerStarts:    {"fnpod_worker_starts_total", counter, "workers", nil, "Workers started."},
	WorkerDeaths:    {"fnpod_worker_deaths_total", counter, "workers", []label{{"reason", []string{"exited", "signaled", "oom", "timeout", "canceled", "protocol", "start"}}}, "Workers lost: ended by themselves, by a foreign signal or for want of memory; killed because a time-out struck, the request was given up or the protocol was broken; failed to start."},
	WorkersRecycled: {"fnpod_workers_recycled_total", counter, "workers", nil, "Workers replaced as planned, after their requests, their age or their memory."},

	FunctionUp:       {"fnpod_function_up", gauge, "", nil, "1 when the function's process runs and its probe passes."},
	FunctionRestarts: {"fnpod_function_restarts_total", counter, "restarts", nil, "Times the function's process was started again."},

	Processes:        {"fnpod_processes", gauge, "processes", nil, "Processes that run for a request, and those of requests that were given up and have not ended."},
	ProcessesWaiting: {"fnpod_processes_waiting", gauge, "processes", nil, "Processes that were started ahead and wait for a request."},
	ProcessesTaken:   {"fnpod_processes_taken_total", counter, "requests", nil, "Requests that found a process waiting."},
	ProcessStarts:    {"fnpod_process_starts_total", counter, "processes", nil, "Processes started for a request, which has come or will."},
	ProcessFailures:  {"fnpod_process_failures_total", counter, "requests", []label{{"reason", []string{"exited", "signaled", "oom", "timeout", "canceled", "output", "start", "no_room", "refused"}}}, "Requests that their process did not answer: it exited with another code than 0, was ended by a signal, by the kernel because memory ran out, or by --process-timeout; the request was given up by its client or by another time-out; too much output; the command cannot be started; no room for a process; a request that cannot be put into variables."},

	BrokerConnected: {"fnpod_broker_connected", gauge, "", []label{{"trigger", nil}}, "1 while the broker of a trigger has taken its subscriptions and the connection stands."},

	OutputDropped:        {"fnpod_function_output_dropped_bytes_total", counter, "bytes", nil, "Output of the function that was not logged because there was too much of it."},
	LogRecordsSuppressed: {"fnpod_log_records_suppressed_total", counter, "records", nil, "Log records of ours that were not written because there were too many."},
	LogRecordsDropped:    {"fnpod_log_records_dropped_total", counter, "records", nil, "Log records and lines of output that were lost because nobody read standard error or standard output fast enough."},
	OrphansReaped:        {"fnpod_orphans_reaped_total", counter, "processes", nil, "Processes not started by us that ended under our care."},
}

// classes are the values of the label code, by status/100.
var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}
