<?php
// The PHP side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames.
//
// Frames are described in docs/worker-protocol.md, the handler contract in docs/handlers.md. PHP 7.4 and later, without
// any extension that can be left out.

namespace Fnpod;

const REQUEST = 1, DATA = 2, TRAILERS = 3, CANCEL = 4, WINDOW = 5, DRAIN = 7, LEAVE = 8, PING = 9;
const HELLO = 0x11, READY = 0x12, INIT_ERROR = 0x13, RESPONSE = 0x21, ERROR = 0x22, PONG = 0x29, BYE = 0x2F;
const LANE = 1, MORE = 2;
const INLINE = 8 << 10, PIECE = 64 << 10, CREDIT = 256 << 10, LIMIT = 1 << 20;
const HEADER = 'Vmeta/Vsize/Ckind/Cflags/vcode/Vid';

const TEXT = "content-type\0text/plain; charset=utf-8";
const BINARY = "content-type\0application/octet-stream";
const EXPECTED = 'a string, null, an array, stdClass, JsonSerializable, an Iterator, or an open stream';

/** The handler returned something that is no answer. */
class UnusableResult extends \TypeError
{
}

/** The parent has no use for the answer any more. */
class Cancelled extends \Exception
{
}

/** The worker's time is over. */
class Left extends \Error
{
}

/** An answer with status and headers; headers is an array of name => value, or of [name, value]. */
class Response
{
    public $body;
    public $status;
    public $headers;

    public function __construct($body = null, ?int $status = null, array $headers = [])
    {
        $this->body = $body;
        $this->status = $status;
        $this->headers = $headers;
    }
}

/**
 * One request: method, path, query, args, headers, headersAll, body, id, peer, host, scheme, deadline. Its parts are
 * decoded when they are first asked for.
 */
#[\AllowDynamicProperties]
class Request
{
    private $raw; // the frame; its meta block ends at $end, an inline body follows
    private $end;
    private $number;
    private $at;
    private $fields;

    public function __construct(string $raw, int $end, int $number)
    {
        $this->raw = $raw;
        $this->end = $end;
        $this->number = $number;
        $this->at = \microtime(true);
    }

    public function __get(string $name)
    {
        if ($name === 'body') {
            return $this->body = \substr($this->raw, $this->end);
        }
        if ($this->fields === null) { // six strings, then names and values
            $this->fields = \explode("\0", fromLatin1(\substr($this->raw, 16, $this->end - 16)));
        }
        switch ($name) {
            case 'method': return $this->fields[0];
            case 'path': return $this->fields[1];
            case 'query': return $this->fields[2];
            case 'scheme': return \explode(' ', $this->fields[3], 2)[0];
            case 'host': return \explode(' ', $this->fields[3], 2)[1] ?? '';
            case 'peer': return $this->fields[4];
            case 'deadline': return $this->fields[5] === '' ? null : $this->at + $this->fields[5] / 1000;
            case 'id': return $this->headers['x-request-id'] ?? (string) $this->number;
            case 'headers': return $this->headers = $this->joined();
            case 'headersAll': return $this->headersAll = $this->apart();
            case 'args': return $this->args = $this->parsed();
        }
        \trigger_error("Undefined property: Request::\$$name", E_USER_WARNING);
        return null;
    }

    public function __isset(string $name): bool
    {
        return \in_array($name, ['method', 'path', 'query', 'scheme', 'host', 'peer', 'id', 'headers', 'headersAll', 'args', 'body'], true)
            || $name === 'deadline' && $this->deadline !== null;
    }

    /** A header by its name in any case, repeated ones joined; the default when it is not there. */
    public function header(string $name, ?string $default = null): ?string
    {
        return $this->headers[\strtolower($name)] ?? $default;
    }

    /** Seconds until the deadline, never below 0; null without one. */
    public function remaining(): ?float
    {
        return $this->deadline === null ? null : \max(0.0, $this->deadline - \microtime(true));
    }

    /** The body as UTF-8, decoded from the charset of its content type. */
    public function text(): string
    {
        if (!\preg_match('/charset\s*=\s*"?([^\s;"]+)/i', $this->header('content-type', ''), $m) || \preg_match('/^utf-?8$/i', $m[1])) {
            return $this->body;
        }
        if (\preg_match('/^(iso-?8859-1|latin-?1|us-ascii)$/i', $m[1])) {
            return fromLatin1($this->body);
        }
        return \iconv($m[1], 'UTF-8', $this->body);
    }

    /** The body parsed as JSON, objects as arrays; throws a JsonException when it is not. */
    public function json()
    {
        return \json_decode($this->body, true, 512, JSON_THROW_ON_ERROR);
    }

    private function joined(): array
    {
        $headers = [];
        for ($i = 6, $n = \count($this->fields); $i + 1 < $n; $i += 2) {
            $name = $this->fields[$i];
            $headers[$name] = isset($headers[$name])
                ? $headers[$name] . ($name === 'cookie' ? '; ' : ', ') . $this->fields[$i + 1] : $this->fields[$i + 1];
        }
        return $headers;
    }

    private function apart(): array
    {
        $all = [];
        for ($i = 6, $n = \count($this->fields); $i + 1 < $n; $i += 2) {
            $all[$this->fields[$i]][] = $this->fields[$i + 1];
        }
        return $all;
    }

    private function parsed(): array
    {
        $args = [];
        foreach (\explode('&', $this->fields[2]) as $part) {
            if ($part !== '') {
                $pair = \explode('=', $part, 2);
                $args[\urldecode($pair[0])][] = \urldecode($pair[1] ?? '');
            }
        }
        return $args;
    }
}

/** Field bytes of HTTP are latin-1; strings of the function are UTF-8. */
function fromLatin1(string $s): string
{
    return \preg_match('/[\x80-\xff]/', $s) ? \preg_replace_callback('/[\x80-\xff]/', function ($m) {
        $c = \ord($m[0]);
        return \chr(0xC0 | $c >> 6) . \chr(0x80 | $c & 0x3F);
    }, $s) : $s;
}

/** Returns the bytes of a header; null if it has characters beyond latin-1. Bytes that are no UTF-8 are taken as they are. */
function toLatin1(string $s): ?string
{
    if (!\preg_match('/[\x80-\xff]/', $s) || !\preg_match('//u', $s)) {
        return $s;
    }
    if (\preg_match('/[^\x{0}-\x{ff}]/u', $s)) {
        return null;
    }
    return \preg_replace_callback('/[\xC2\xC3]([\x80-\xBF])/', function ($m) {
        return \chr((\ord($m[0][0]) & 3) << 6 | \ord($m[1]) & 0x3F);
    }, $s);
}

/** Names the type of a value with its article. */
function a($value): string
{
    if ($value === null) {
        return 'null';
    }
    $names = ['integer' => 'int', 'double' => 'float', 'boolean' => 'bool'];
    $name = \is_object($value) ? \get_class($value) : ($names[\gettype($value)] ?? \gettype($value));
    return (\stripos('aeio', $name[0]) === false ? 'a ' : 'an ') . $name;
}

/** Worker is the conversation with the parent. A handler has no business here. */
final class Worker
{
    public static $file;
    public static $contract = null;    // how handlers that are not native are loaded and called
    private static $name;
    private static $handle;
    private static $in;
    private static $out;
    private static $lane;
    private static $laneIn;
    private static $laneOut;
    private static $pid;
    private static $began;
    private static $rest = '';         // bytes read but not looked at yet
    private static $deferred = '';     // frames that came in the middle of a request and wait until it is answered
    private static $answering = null;  // id of the request that the handler has
    private static $credit = 0;
    private static $state = 'settings'; // loading, serving, over

    /** Takes the settings out of the environment, so that neither the handler nor its children see them. */
    public static function begin(): void
    {
        $env = [];
        foreach (\getenv() as $key => $value) {
            if (\strpos($key, 'FNPOD_WORKER_') === 0) {
                $env[\substr($key, 13)] = $value;
                \putenv($key);
                unset($_ENV[$key], $_SERVER[$key]);
            }
        }
        $whole = \preg_match('/^(\d+)-(\d+)$/', $env['PROTOCOL'] ?? '', $versions)
            && \preg_match('/^(\d+),(\d+)$/', $env['FDS'] ?? '', $fds)
            && \preg_match('/^(-?\d+),(\d+),(\d+)$/', $env['LANE'] ?? '-1,0,0', $lane)
            && \preg_match('/^(.+):([^:]*)$/s', $env['HANDLER'] ?? '', $handler);
        if (!$whole || $versions[1] > 1 || $versions[2] < 1) {
            \fwrite(STDERR, "fnpod: this file is started by fnpod as a worker, with protocol 1\n");
            exit(1);
        }
        self::$in = self::open($fds[1], 'rb');
        self::$out = $fds[1] === $fds[2] ? self::$in : self::open($fds[2], 'wb');
        self::$lane = $lane[1] < 0 ? null : self::open($lane[1], 'r+b');
        self::$laneIn = (int) $lane[2];
        self::$laneOut = (int) $lane[3];
        self::$file = $handler[1];
        self::$name = $handler[2];
        self::$pid = \getmypid();
        \register_shutdown_function([self::class, 'shutdown']);
        self::say(HELLO, 1, ['language', 'php', 'runtime', PHP_VERSION, 'pid', (string) self::$pid, 'features', 'lane,stream']);
        self::$state = 'loading';
        self::$began = \microtime(true);
        \set_include_path(\dirname(self::$file) . PATH_SEPARATOR . \get_include_path());
        if (!\is_file(self::$file) || !\is_readable(self::$file)) {
            throw new \RuntimeException('cannot read the handler: ' . self::$file);
        }
        if (self::$contract !== null) {
            self::$contract->begin(self::$file);
        }
    }

    private static function open(string $fd, string $mode)
    {
        $stream = \fopen("php://fd/$fd", $mode);
        \stream_set_read_buffer($stream, 0);
        \stream_set_write_buffer($stream, 0);
        return $stream;
    }

    /** Finds the handler in what the file has defined or returned, and runs init. */
    public static function loaded($returned): void
    {
        if (self::$contract !== null) {
            self::$handle = self::$contract->handler(self::$name);
            self::ready(self::$contract->type);
            return;
        }
        $name = self::$name === '' ? 'handle' : \str_replace('.', '::', self::$name);
        self::$handle = self::$name === '' && $returned instanceof \Closure ? $returned : $name;
        if (!\is_callable(self::$handle)) {
            $there = \implode(', ', \array_diff(\get_defined_functions()['user'], ['fnpod\fromlatin1', 'fnpod\tolatin1', 'fnpod\a']));
            throw new \LogicException(\basename(self::$file) . " has no function '$name'; it has " . ($there === '' ? 'none at all' : $there));
        }
        if (\function_exists('init') && $name !== 'init') {
            \init();
        }
        self::ready(\is_string(self::$handle) ? $name : 'return');
    }

    private static function ready(string $label): void
    {
        self::say(READY, 1, ['handler', \basename(self::$file) . ':' . $label,
            'init_ms', (string) \round((\microtime(true) - self::$began) * 1000)]);
        self::$state = 'serving';
    }

    public static function broken(\Throwable $error): void
    {
        self::$state = 'over';
        self::put(self::errorFrame(INIT_ERROR, 0, 0, self::describe($error)));
        exit(1);
    }

    public static function serve(): void
    {
        try {
            for (;;) { // one read and one write for each request, as long as they are small and whole
                $req = null; // nothing of a request outlives it
                if (self::$rest === '' && ($data = \fread(self::$in, 65536)) !== '' && $data !== false) {
                    $f = \strlen($data) < 16 ? [3 => 0] : \unpack('V4', $data); // type, flags and code as one
                    if ($f[3] === REQUEST && \strlen($data) === 16 + $f[1] + $f[2]) {
                        $req = new Request($data, 16 + $f[1], self::$answering = $f[4]);
                    } else {
                        self::$rest = $data;
                    }
                    $data = null;
                }
                self::answerOne($req ?? self::nextRequest());
            }
        } catch (Left $left) {
            self::$state = 'over';
            exit(0);
        }
    }

    /** What cannot be caught: exit, and errors that end PHP. The request in flight gets an answer; no other comes. */
    public static function shutdown(): void
    {
        if (self::$pid !== \getmypid() || self::$state === 'over' || self::$state === 'settings') {
            return;
        }
        \ini_set('memory_limit', '-1'); // it may be what has ended PHP
        $last = \error_get_last();
        $fatal = $last && $last['type'] & (E_ERROR | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_PARSE);
        $what = $fatal ? ['Fatal error', $last['message'], "{$last['message']} in {$last['file']}:{$last['line']}\n"]
            : ['exit', 'the handler called exit', "the handler called exit\n"];
        if (self::$state === 'loading') {
            self::put(self::errorFrame(INIT_ERROR, 0, 0, $what));
            self::halt(1);
        }
        if (self::$answering !== null) {
            $bye = \pack('VVCCvV', 0, 0, BYE, 0, 0, 0);
            $answer = self::$contract === null ? null : self::$contract->ended(!$fatal);
            if ($answer !== null) {
                self::answer(self::$answering, $answer);
                self::put($bye);
                return;
            }
            self::put(self::errorFrame(ERROR, 500, self::$answering, $what) . $bye);
        }
    }

    /** Makes $code the exit code, whatever the handler gave to exit. */
    private static function halt(int $code): void
    {
        self::$state = 'over';
        exit($code);
    }

    // Frames in.

    /** Returns the next whole request and deals with everything that comes before it. */
    private static function nextRequest(): Request
    {
        for (;;) {
            $f = self::frame();
            if ($f['kind'] !== REQUEST) {
                self::control($f['kind']);
                continue;
            }
            $req = new Request($f['raw'], 16 + $f['meta'], $f['id']);
            if ($f['flags'] & LANE) {
                $req->body = self::fromLane($f['size']);
            } elseif ($f['flags'] & MORE) {
                try {
                    $req->body = self::gather($f['id'], $req->body);
                } catch (Cancelled $e) {
                    self::put(self::errorFrame(ERROR, 500, $f['id'], self::describe($e)));
                    continue;
                }
            }
            self::$answering = $f['id'];
            return $req;
        }
    }

    /** Reads one frame. */
    private static function frame(): array
    {
        $data = self::$rest === '' ? self::more('') : self::$rest;
        while (\strlen($data) < 16) {
            $data .= self::more($data);
        }
        $f = \unpack(HEADER, $data);
        $inline = $f['flags'] & LANE ? 0 : $f['size'];
        if ($f['meta'] > LIMIT || $inline > LIMIT) {
            self::stop("frame too long: {$f['meta']} bytes of meta, $inline of body");
        }
        $need = 16 + $f['meta'] + $inline;
        if (\strlen($data) < $need) {
            $parts = [$data];
            for ($have = \strlen($data); $have < $need; $have += \strlen($part)) {
                $parts[] = $part = self::more($data);
            }
            $data = \implode('', $parts);
        }
        if (\strlen($data) === $need) {
            self::$rest = '';
        } else {
            self::$rest = \substr($data, $need);
            $data = \substr($data, 0, $need);
        }
        $f['raw'] = $data;
        return $f;
    }

    private static function more(string $have): string
    {
        $data = \fread(self::$in, 65536);
        if ($data === '' || $data === false) {
            if ($have !== '') {
                self::stop('request pipe ended inside a frame');
            }
            throw new Left();
        }
        return $data;
    }

    /** A frame between two requests. What belongs to a request that is answered already came late and is ignored. */
    private static function control(int $kind): void
    {
        if ($kind === PING) {
            self::pong();
        } elseif ($kind === DRAIN) {
            self::say(BYE, 0, []);
            throw new Left();
        } elseif ($kind === LEAVE) {
            throw new Left();
        } elseif (!\in_array($kind, [DATA, TRAILERS, CANCEL, WINDOW], true) && $kind < 0x80) {
            self::stop(\sprintf('unknown frame type 0x%02x', $kind));
        }
    }

    /** Collects a body sent in pieces; the parent may send on as pieces are taken. */
    private static function gather(int $id, string $body): string
    {
        $taken = 0;
        try {
            for (;;) {
                $f = self::ownFrame($id);
                if ($f && $f['kind'] === DATA) {
                    $data = \substr($f['raw'], 16 + $f['meta']);
                    $body .= $data;
                    $taken += \strlen($data);
                    if (!($f['flags'] & MORE)) {
                        return $body;
                    }
                    if ($taken >= CREDIT / 2) {
                        self::put(\pack('VVCCvVV', 0, 4, WINDOW, 0, 0, $id, $taken));
                        $taken = 0;
                    }
                } elseif ($f && $f['kind'] === TRAILERS) {
                    return $body;
                }
            }
        } finally {
            self::resume();
        }
    }

    /** Reads one frame; returns it if it belongs to the request, else null: others wait until that is answered. */
    private static function ownFrame(int $id): ?array
    {
        $f = self::frame();
        if ($f['kind'] === PING) {
            self::pong();
        } elseif ($f['id'] !== $id) {
            self::$deferred .= $f['raw'];
        } elseif ($f['kind'] === CANCEL) {
            throw new Cancelled('the request was cancelled');
        } elseif (\in_array($f['kind'], [DATA, TRAILERS, WINDOW], true)) {
            return $f;
        } elseif ($f['kind'] < 0x80) {
            self::stop(\sprintf('unexpected frame type 0x%02x in request %d', $f['kind'], $id));
        }
        return null;
    }

    private static function resume(): void
    {
        self::$rest = self::$deferred . self::$rest;
        self::$deferred = '';
    }

    private static function pong(): void
    {
        \preg_match('/^VmRSS:\s+(\d+)/m', \file_get_contents('/proc/self/status'), $m);
        self::say(PONG, 0, ['rss', (string) (1024 * ($m[1] ?? 0)), 'in_flight', self::$answering === null ? '0' : '1']);
    }

    private static function fromLane(int $size): string
    {
        if ($size > self::$laneIn) {
            self::stop("body of $size bytes in a lane of " . self::$laneIn);
        }
        \fseek(self::$lane, 0);
        $body = '';
        while (($left = $size - \strlen($body)) > 0) {
            $body .= \fread(self::$lane, $left);
        }
        return $body;
    }

    // Frames out.

    private static function put(string $data): void
    {
        self::write(self::$out, $data);
    }

    private static function write($stream, string $data): void
    {
        $size = \strlen($data);
        for ($done = 0; $done < $size; $done += $n) {
            $n = \fwrite($stream, $done ? \substr($data, $done) : $data);
            if (!$n) {
                self::stop('pipe: ' . (\error_get_last()['message'] ?? 'not written'));
            }
        }
    }

    private static function say(int $kind, int $code, array $pairs): void
    {
        $meta = \implode("\0", $pairs);
        self::put(\pack('VVCCvV', \strlen($meta), 0, $kind, 0, $code, 0) . $meta);
    }

    // Answers.

    private static function answerOne(Request $req): void
    {
        $id = self::$answering;
        try {
            $result = (self::$handle)($req);
            if (self::$pid !== \getmypid()) {
                exit(0); // a child of the handler must not speak here
            }
            if (\ob_get_level()) {
                self::flushAll();
            }
            if (\is_string($result) && \strlen($result) <= INLINE) {
                $meta = self::type($result);
                self::put(\pack('VVCCvV', \strlen($meta), \strlen($result), RESPONSE, 0, 200, $id) . $meta . $result);
            } else {
                self::answer($id, $result);
            }
        } catch (Left $left) {
            throw $left;
        } catch (\Throwable $error) {
            self::put(self::errorFrame(ERROR, 500, $id, self::describe($error)));
        }
        if (self::$deferred !== '') {
            self::resume();
        }
        self::$answering = null;
    }

    /** What the handler has buffered of its output and forgotten belongs to this request. */
    private static function flushAll(): void
    {
        while (\ob_get_level() && @\ob_end_flush());
    }

    /** Sends whatever a handler may return. */
    private static function answer(int $id, $result): void
    {
        $status = null;
        $pairs = [];
        if ($result instanceof Response) {
            [$result, $status, $pairs] = [$result->body, $result->status, self::pairs($result->headers)];
        } elseif (\is_array($result) && self::isAnswer($result)) {
            [$result, $status, $pairs] = [$result['body'] ?? null, $result['status'] ?? null, self::pairs($result['headers'] ?? [])];
        }
        $status = $status ?? ($result === null ? 204 : 200);
        if (!\is_int($status)) {
            throw new UnusableResult('handler returned ' . a($status) . ' as status; expected an int');
        }
        if ($status < 200 || $status > 599) {
            throw new UnusableResult("handler returned status $status; expected 200 to 599");
        }
        if ($result === null) {
            self::answerBytes($id, $status, self::meta($pairs, ''), '');
        } elseif (\is_string($result)) {
            self::answerBytes($id, $status, self::meta($pairs, self::type($result)), $result);
        } elseif ($result instanceof \Traversable && !$result instanceof \JsonSerializable || \is_resource($result)) {
            self::stream($id, $status, $pairs, \is_resource($result) ? self::chunks($result) : $result);
        } elseif (\is_array($result) || $result instanceof \stdClass || $result instanceof \JsonSerializable) {
            self::answerBytes($id, $status, self::meta($pairs, "content-type\0application/json"), self::json($result));
        } else {
            throw new UnusableResult('handler returned ' . a($result) . '; expected ' . EXPECTED);
        }
    }

    /** An array of status, headers and body, with no other keys, that has a body or an int as status. */
    private static function isAnswer(array $value): bool
    {
        return $value && !\array_diff_key($value, ['status' => 0, 'headers' => 0, 'body' => 0])
            && (\array_key_exists('body', $value) || \is_int($value['status'] ?? null));
    }

    /** Text and bytes are one type: what is UTF-8 is text. */
    private static function type(string $s): string
    {
        return \preg_match('//u', $s) ? TEXT : BINARY;
    }

    private static function json($value): string
    {
        try {
            return \json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
        } catch (\JsonException $e) {
            throw new UnusableResult('handler returned ' . a($value) . ' that is not JSON: ' . $e->getMessage());
        }
    }

    /** Reads an open stream in pieces and closes it. */
    private static function chunks($file): \Generator
    {
        try {
            while (($part = \fread($file, PIECE)) !== '' && $part !== false) {
                yield $part;
            }
        } finally {
            \fclose($file);
        }
    }

    /** Returns checked name, value, name, value; an array as value repeats the name. */
    private static function pairs($headers): array
    {
        if (!\is_iterable($headers)) {
            throw new UnusableResult('handler returned ' . a($headers) . ' as headers; expected an array');
        }
        $pairs = [];
        foreach ($headers as $name => $values) {
            if (\is_int($name) && \is_array($values) && \count($values) === 2) {
                [$name, $values] = \array_values($values);
            }
            $name = \strtolower((string) $name);
            if (!\preg_match('/^[!#$%&\'*+\-.^_`|~0-9a-z]+$/D', $name)) {
                throw new UnusableResult('handler returned a header with the name ' . \var_export($name, true));
            }
            foreach (\is_array($values) ? $values : [$values] as $value) {
                if (!\is_string($value) && !\is_int($value)) {
                    throw new UnusableResult('handler returned ' . a($value) . " as header value of $name; expected a string");
                }
                if (\preg_match('/[\r\n\0]/', $value)) {
                    throw new UnusableResult("handler returned a line break or NUL in the header $name");
                }
                $value = toLatin1($value);
                if ($value === null) {
                    throw new UnusableResult("handler returned a header value of $name with characters beyond latin-1");
                }
                \array_push($pairs, $name, $value);
            }
        }
        return $pairs;
    }

    /** Joins header pairs; the handler's content type wins over the implied one. */
    private static function meta(array $pairs, string $implied): string
    {
        if (!$pairs) {
            return $implied;
        }
        for ($i = 0; $implied !== '' && $i < \count($pairs); $i += 2) {
            $implied = $pairs[$i] === 'content-type' ? '' : $implied;
        }
        $meta = ($implied === '' ? '' : "$implied\0") . \implode("\0", $pairs);
        if (\strlen($meta) > LIMIT) {
            throw new UnusableResult('handler returned ' . \strlen($meta) . ' bytes of headers; the limit is ' . LIMIT);
        }
        return $meta;
    }

    private static function answerBytes(int $id, int $status, string $meta, string $body): void
    {
        $size = \strlen($body);
        if ($size <= INLINE) {
            self::put(\pack('VVCCvV', \strlen($meta), $size, RESPONSE, 0, $status, $id) . $meta . $body);
        } elseif ($size <= self::$laneOut) {
            \fseek(self::$lane, self::$laneIn);
            self::write(self::$lane, $body);
            self::put(\pack('VVCCvV', \strlen($meta), $size, RESPONSE, LANE, $status, $id) . $meta);
        } else {
            $pairs = $meta === '' ? [] : \explode("\0", $meta);
            for ($i = 0, $kept = []; $i < \count($pairs); $i += 2) {
                if ($pairs[$i] !== 'content-length') {
                    \array_push($kept, $pairs[$i], $pairs[$i + 1]);
                }
            }
            \array_push($kept, 'content-length', (string) $size);
            self::$credit = CREDIT;
            self::head($id, $status, \implode("\0", $kept));
            self::spend($id, $body);
            self::finish($id);
        }
    }

    private static function head(int $id, int $status, string $meta): void
    {
        self::put(\pack('VVCCvV', \strlen($meta), 0, RESPONSE, MORE, $status, $id) . $meta);
    }

    private static function finish(int $id): void
    {
        self::put(\pack('VVCCvV', 0, 0, DATA, 0, 0, $id));
    }

    /** Sends data in pieces and waits for the parent where it must. */
    private static function spend(int $id, string $data): void
    {
        for ($at = 0; $at < \strlen($data); $at += $n) {
            while (self::$credit <= 0) {
                self::wait($id);
            }
            $n = \min(\strlen($data) - $at, PIECE, self::$credit);
            self::put(\pack('VVCCvV', 0, $n, DATA, MORE, 0, $id) . \substr($data, $at, $n));
            self::$credit -= $n;
        }
    }

    private static function wait(int $id): void
    {
        $f = self::ownFrame($id);
        if (!$f || $f['kind'] !== WINDOW) {
            return;
        }
        if ($f['size'] !== 4) {
            self::stop("WINDOW with {$f['size']} bytes");
        }
        self::$credit += \unpack('V', $f['raw'], 16 + $f['meta'])[1];
    }

    private static function pending(): bool
    {
        $read = [self::$in];
        $none = null;
        return self::$rest !== '' || \stream_select($read, $none, $none, 0) > 0;
    }

    /** Sends the items of an iterator as they come. The head goes with the first, so that an early error is a 500. */
    private static function stream(int $id, int $status, array $pairs, \Traversable $items): void
    {
        $head = true;
        self::$credit = CREDIT;
        foreach ($items as $item) {
            if (!\is_string($item)) {
                throw new UnusableResult('handler yielded ' . a($item) . '; expected a string');
            }
            if ($head) {
                self::head($id, $status, self::meta($pairs, self::type($item)));
                $head = false;
            }
            self::spend($id, $item);
            while (self::pending()) {
                self::wait($id);
            }
        }
        if (!$head) {
            self::finish($id);
            return;
        }
        $meta = self::meta($pairs, '');
        self::put(\pack('VVCCvV', \strlen($meta), 0, RESPONSE, 0, $status, $id) . $meta);
    }

    // Errors.

    /** Ends the worker at once: the pipes cannot be trusted any more. */
    private static function stop(string $why): void
    {
        self::$state = 'over';
        \fwrite(STDERR, "fnpod worker: $why\n");
        exit(1);
    }

    private static function errorFrame(int $kind, int $code, int $id, array $what): string
    {
        [$name, $message, $trace] = $what;
        $message = \strlen($message) > 1000 ? \substr($message, 0, 1000) . '...' : $message;
        $trace = \strlen($trace) > 8000 ? \substr($trace, 0, 2000) . "\n[...]\n" . \substr($trace, -5900) : $trace;
        $meta = "type\0" . \str_replace("\0", '\0', $name) . "\0message\0" . \str_replace("\0", '\0', $message);
        return \pack('VVCCvV', \strlen($meta), \strlen($trace), $kind, 0, $code, $id) . $meta . $trace;
    }

    /** Returns type, message and trace of what was thrown, without the frames of the wrapper. */
    private static function describe(\Throwable $error): array
    {
        $name = $error instanceof Cancelled ? 'cancelled' : \preg_replace('/^Fnpod\\\\/', '', \get_class($error));
        $trace = "$name: {$error->getMessage()}\n";
        if (!$error instanceof Cancelled && !$error instanceof UnusableResult) {
            $trace = '';
            for ($e = $error, $depth = 0; $e && $depth < 8; $e = $e->getPrevious(), $depth++) {
                $trace .= ($depth ? 'caused by: ' : '') . self::trace($e);
            }
        }
        return [$name, $error->getMessage(), $trace];
    }

    private static function trace(\Throwable $e): string
    {
        $text = \get_class($e) . ": {$e->getMessage()}" . ($e->getFile() === __FILE__ ? '' : " in {$e->getFile()}:{$e->getLine()}") . "\n";
        foreach ($e->getTrace() as $at) {
            if (($at['file'] ?? __FILE__) !== __FILE__) {
                $text .= "  at {$at['file']}:{$at['line']}: " . ($at['class'] ?? '') . ($at['type'] ?? '') . "{$at['function']}()\n";
            }
        }
        return $text;
    }
}

// The file is loaded here, where its variables are global, as those of any PHP program are.
try {
    Worker::begin();
    Worker::loaded(require_once Worker::$file);
} catch (\Throwable $error) {
    Worker::broken($error);
}
unset($error);
Worker::serve();
