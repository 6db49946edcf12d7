package main

import (
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// commands is the grammar of the command line. Every setting is declared here and nowhere else: kong reads flags and
// help from it, variableOf names the FNPOD_* variable, and the manual is written from it.
//
// A struct that mirrors the Config of a package has its fields in the same order with the same types, so that the
// conversion between the two fails to compile when one of them changes. Defaults and checks stay in the package.
type commands struct {
	Help helpFlag `short:"h" help:"Show this help."`

	Serve   serveCmd   `cmd:"" help:"Serve a handler file with warm workers."`
	Run     runCmd     `cmd:"" help:"Start a command that is the function, and serve it."`
	Proxy   proxyCmd   `cmd:"" help:"Serve a function that runs elsewhere in the pod."`
	Check   checkCmd   `cmd:"" passthrough:"" help:"Print the effective settings and their origin; exit 2 when one is wrong."`
	Probe   probeCmd   `cmd:"" help:"Ask the admin port whether the pod is ready; exit 0 or 1."`
	Version versionCmd `cmd:"" help:"Print version, commit and Go version."`
}

// serveCmd serves a handler file with warm workers.
type serveCmd struct {
	Handler handler `arg:"" help:"The function: FILE or FILE:FUNCTION. The language follows from the file name."`

	Front   front          `embed:""`
	Workers workerSettings `embed:"" group:"Workers"`
}

// runCmd starts a command as the function.
type runCmd struct {
	Command []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`

	Front    front            `embed:""`
	Function functionSettings `embed:"" group:"Function process"`
	Fork     forkSettings     `embed:"" group:"Process per request"`
}

// proxyCmd serves a function that something else started.
type proxyCmd struct {
	URL      upstream `arg:"" name:"url" help:"Where the function listens: http://HOST:PORT or unix:///PATH."`
	Protocol string   `name:"upstream-protocol" allowed:"auto,http1,h2c,same" group:"Requests" help:"How the function is spoken to: http1; h2c is HTTP/2 without TLS; same as the client speaks; auto is http1, and h2c for gRPC."`

	Front front `embed:""`
}

// front is what every command that answers requests has.
type front struct {
	Listen address       `group:"Ports" help:"Where requests arrive: [HOST]:PORT or unix:/PATH."`
	Admin  address       `group:"Ports" off:"yes" help:"Metrics, health and status: [HOST]:PORT, unix:/PATH or off."`
	TLS    tlsSettings   `embed:"" prefix:"tls-" group:"Ports"`
	Log    logSettings   `embed:"" prefix:"log-" group:"Logs"`
	Queue  queueSettings `embed:"" prefix:"queue-" group:"Queue"`
	Scaler string        `name:"scaler-name" group:"Metrics" help:"Name of this function in /queue, as the scaler of the KEDA HTTP add-on knows it: NAMESPACE/NAME."`
	Proxy  proxySettings `embed:""`
}

// tlsSettings make the listener speak TLS.
type tlsSettings struct {
	Cert string `placeholder:"FILE" help:"Certificate chain in PEM, read again when the file changes; empty serves without TLS."`
	Key  string `placeholder:"FILE" help:"Private key of the certificate, in PEM."`
}

// logSettings say what is logged and how.
type logSettings struct {
	Level  string `allowed:"debug,info,warn,error" help:"Least important level that is logged: debug, info, warn or error."`
	Format string `allowed:"json,text" help:"Log format on standard error: json or text."`
}

// queueSettings become queue.Config, and what proxy needs to tell requests apart.
type queueSettings struct {
	Limit      int           `help:"Requests that run at once; 0 means no limit, or as many as workers can take, or four per processor with a process per request."`
	Depth      int           `help:"Requests that may wait for their turn; more are refused with 503. The streams of one connection of HTTP/2 take half of the places at most."`
	MaxWait    time.Duration `help:"Longest wait for a turn before 503; 0 means no bound."`
	Discipline string        `allowed:"fifo,adaptive" help:"Who is next: fifo is the one who came first; adaptive is fifo until the line stands, then who came last."`
	Target     time.Duration `help:"With adaptive: wait of the first in line that is still good; 0 means the mean service time, at least 5ms."`
	Adapt      bool          `help:"Find by the service times how many requests should run at once; queue-limit is the most."`
	Classes    queueClasses  `placeholder:"CLASSES" help:"Classes of requests in order of priority: NAME=SHARE%[/KEEP%]:RULE;… where RULE is path:/PREFIX, header:NAME, header:NAME=VALUE or *. SHARE of the limit is guaranteed, of which KEEP is never lent."`
	FairBy     fairness      `help:"Whose requests share their turns: off, client (by address) or header:NAME."`
}

// proxySettings mirrors proxy.Config.
type proxySettings struct {
	HeadBytes    int   `type:"size" group:"Limits" help:"Largest head of a request or an answer."`
	HeadFields   int   `group:"Limits" help:"Most fields in one head."`
	MaxBody      int64 `type:"size" group:"Limits" help:"Largest request body; more is refused with 413; 0 means no limit."`
	BufferBody   int64 `type:"size" group:"Limits" help:"Bodies up to this size are read before the request queues."`
	Connections  int   `group:"Limits" help:"Most client connections; 0 derives it from the descriptor limit."`
	HTTP2Streams int   `name:"http2-streams" group:"Limits" help:"Most requests at once on one connection of HTTP/2; 0 refuses HTTP/2."`

	HeadTimeout   time.Duration `group:"Time-outs" help:"First byte of a request to the end of its head."`
	IdleTimeout   time.Duration `group:"Time-outs" help:"Longest life of a connection without a request."`
	BodyTimeout   time.Duration `group:"Time-outs" help:"Longest gap between two pieces of a body."`
	WriteTimeout  time.Duration `group:"Time-outs" help:"Longest time a client may take no byte of its answer."`
	AnswerTimeout time.Duration `group:"Time-outs" help:"Start of the function to the first byte of its answer; 0 means no limit."`
	Timeout       time.Duration `group:"Time-outs" help:"End of the request's head to the last byte of the answer; 0 means no limit."`

	TunnelIdleTimeout time.Duration `group:"Time-outs" help:"Longest time a WebSocket tunnel may be silent in both directions; the time-outs of requests end when it begins."`

	Forwarded  string `allowed:"append,replace,off" group:"Requests" help:"X-Forwarded-* and Forwarded fields of the client: append to them, replace them, or off to pass them unchanged."`
	RequestIDs bool   `name:"request-ids" group:"Requests" help:"The function gets an X-Request-Id, of ours if the client sent none."`
	AccessLog  bool   `group:"Logs" help:"One log record per request."`
	Timing     bool   `name:"server-timing" group:"Requests" help:"Answers tell by Server-Timing how long they waited and ran."`

	DrainDelay   time.Duration `group:"Stopping" help:"Goes on accepting this long after the stop signal, so that endpoints can notice."`
	DrainTimeout time.Duration `group:"Stopping" help:"Then waits this long for requests to end."`
}

// functionSettings belong to the process that fnpod run starts.
type functionSettings struct {
	Mode         string        `allowed:"http,streaming,serializing" help:"How requests reach the command: http to a server that it is; streaming and serializing start it for each request, with the body as its input and its output as the answer, at once or when it has ended well."`
	Upstream     upstream      `help:"Where the process listens: http://HOST:PORT or unix:///PATH. Its port is given to the process as PORT."`
	Protocol     string        `name:"upstream-protocol" allowed:"auto,http1,h2c,same" group:"Requests" help:"How the function is spoken to: http1; h2c is HTTP/2 without TLS; same as the client speaks; auto is http1, and h2c for gRPC."`
	ReadyProbe   readyProbe    `help:"When the process counts as started: tcp connects to the upstream; or one of tcp:HOST:PORT, unix:PATH, http://HOST:PORT/PATH, http://unix:SOCKET:/PATH, file:PATH, none."`
	StartTimeout time.Duration `help:"Longest time until the probe passes."`
	StopGrace    time.Duration `help:"SIGTERM to SIGKILL."`
	Restart      string        `allowed:"never,always" help:"After the process ended: never ends the pod with its exit code, always starts it again."`
}

// forkSettings belong to the modes of fnpod run that start a process for each request.
type forkSettings struct {
	Launcher        string        `allowed:"exec,standby,zygote" help:"How a process comes to be: exec starts it when its request has come; standby has it wait before, without variables of the request; zygote forks it from a warm process (scripts of Python, Ruby and Perl)."`
	Standby         int           `help:"Processes that wait for requests, with standby and zygote."`
	ZygotePreload   bool          `help:"The zygote imports what the script's own statements import, once; otherwise each process does it."`
	StandbyIdle     time.Duration `help:"They end after this long without a request, and are started again with the next one; 0 means never."`
	ContentType     string        `help:"Content-Type of answers."`
	MaxOutput       int64         `type:"size" help:"Most output of one process that serializing keeps; more is a 502; 0 means no limit."`
	ProcessTimeout  time.Duration `help:"Longest run of one process; 0 means that of its request."`
	OutputGrace     time.Duration `help:"When a process has ended and another one still holds its output open: time until the answer is over."`
	OnClientGone    string        `allowed:"kill,finish" help:"What becomes of a process whose client has left: kill, or finish if it has its whole request."`
	PassCredentials bool          `help:"Authorization and Cookie become variables like other fields."`
}

// workerSettings belong to the warm workers of fnpod serve. The flags are named as workers.Config.Validate names them.
type workerSettings struct {
	Min          int           `name:"workers-min" help:"Workers kept ready; 0 lets the pool shrink to none."`
	Max          poolSize      `name:"workers-max" help:"Most workers; auto is the CPU quota, rounded up, also when it changes. Fewer are started when memory has no room for more."`
	IdleTimeout  time.Duration `name:"workers-idle-timeout" help:"A worker above workers-min ends after this long without work; 0 means never."`
	StartTimeout time.Duration `name:"workers-start-timeout" help:"Longest time from the start of a worker until it is ready."`
	Timeout      time.Duration `name:"workers-timeout" help:"Longest run of one request; then its worker alone is killed; 0 means no limit."`
	ClientGrace  time.Duration `name:"workers-client-grace" help:"Time a function has to finish after its client left, before its worker is killed."`
	StopGrace    time.Duration `name:"workers-grace" help:"Time a worker has to end when it is told to, before it is killed."`
	MaxRequests  int           `name:"workers-max-requests" help:"A worker is replaced after about this many requests; 0 means never."`
	MaxAge       time.Duration `name:"workers-max-age" help:"A worker is replaced after about this long; 0 means never."`
	MaxRSS       int64         `name:"workers-max-rss" type:"size" help:"A worker that is larger between requests is replaced; 0 means no limit."`
	Concurrency  int           `name:"workers-concurrency" help:"Requests one worker runs at once, if its handler is async: Python, Node, Go."`
	Lane         int64         `name:"workers-lane-bytes" type:"size" help:"Shared memory per worker and direction for large bodies; 0 sends them through the pipe."`
	Warmup       warmups       `name:"workers-warmup" placeholder:"REQUESTS" help:"Requests that each new worker has to answer before it gets others: [METHOD] PATH [@FILE] [xTIMES];… where FILE has the body. A status from 400 counts as a start that failed."`
	Watch        bool          `name:"watch" help:"For development: load the function anew when its files change. Requests go on; a version that does not start is logged and not used."`
	Interpreter  string        `name:"workers-interpreter" placeholder:"PROGRAM" empty:"(by language)" help:"Program that runs the handler; empty chooses it by language."`
	Contract     string        `name:"contract" allowed:"native,openfaas-http,openfaas-flask,openfaas-classic,nuclio,kubeless" help:"How the handler is called: native; nuclio with context and event; kubeless with event and context; or as OpenFaaS' templates do: openfaas-http with event and context, openfaas-flask with the body, openfaas-classic with the body as text, where what it prints is the answer."`
}

// defaults returns the grammar with every setting at its default.
func defaults() *commands {
	f := front{
		Listen: address{network: "tcp", address: ":8080"},
		Admin:  address{network: "tcp", address: ":8081"},
		Log:    logSettings{Level: "info", Format: "json"},
		Queue:  newQueueSettings(queue.DefaultConfig()),
		Scaler: "default/function",
		Proxy:  proxySettings(proxy.DefaultConfig()),
	}
	serve := f
	serve.Proxy.MaxBody = 64 << 20 // a worker holds the body in memory (rule L8)
	return &commands{
		Serve: serveCmd{Front: serve, Workers: newWorkerSettings(workers.DefaultConfig())},
		Run: runCmd{Front: f, Function: functionSettings{
			Mode:         "http",
			Upstream:     upstream{network: "tcp", address: "127.0.0.1:3000"},
			Protocol:     proxy.ProtocolAuto,
			ReadyProbe:   readyProbe{kind: probeUpstream},
			StartTimeout: 30 * time.Second,
			StopGrace:    10 * time.Second,
			Restart:      "never",
		}, Fork: newForkSettings(watchdog.DefaultForkConfig())},
		Proxy: proxyCmd{Front: f, Protocol: proxy.ProtocolAuto},
		Probe: probeCmd{Admin: f.Admin, Timeout: time.Second},
	}
}
