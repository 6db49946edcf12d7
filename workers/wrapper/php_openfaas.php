/**
 * Handlers of OpenFaaS' PHP templates in a worker: a text in, and what is printed and returned out. What is a process for
 * each request there starts anew here: the object, variables, working directory and output. This part is put into php.php,
 * before it loads the handler, for the contract openfaas-classic.
 */
final class Classic
{
    private const METHODS = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'];

    public $type;
    private $home;
    private $own;
    private $output = null; // so far, of the request in progress; null between requests
    private $kind;          // content type of that request
    private $names = [];    // of its variables

    /** Looks for Composer's autoloader in the handler's folder and the one above. */
    public function begin(string $file): void
    {
        foreach ([\dirname($file), \dirname($file, 2)] as $folder) {
            if (\is_file("$folder/vendor/autoload.php")) {
                require_once "$folder/vendor/autoload.php";
                return;
            }
        }
    }

    /** Returns the native handler around the template's. */
    public function handler(string $name): callable
    {
        $this->type = $name === '' ? 'App\Handler' : \strtr($name, '.', '\\');
        if (!\class_exists($this->type)) {
            throw new \LogicException(\basename(Worker::$file) . " has no class '{$this->type}'");
        }
        if (!\method_exists($this->type, 'handle')) {
            throw new \LogicException("the class '{$this->type}' of " . \basename(Worker::$file) . " has no method 'handle'");
        }
        $this->home = \getcwd();
        $this->own = \getenv();
        \stream_filter_register('fnpod.output', Output::class);
        \stream_filter_append(\STDOUT, 'fnpod.output', \STREAM_FILTER_WRITE, $this);
        return [$this, 'answer'];
    }

    public function answer(Request $req): Response
    {
        if (!\in_array($req->method, self::METHODS, true)) {
            return new Response(null, 405);
        }
        $this->kind = \getenv('content_type') ?: $req->header('content-type');
        if (($this->own['cgi_headers'] ?? 'true') === 'true') {
            $this->tell($req);
        }
        $this->output = '';
        \ob_start([$this, 'take'], 1);
        $body = null;
        try {
            echo (new $this->type())->handle($req->body);
            $body = $this->finish();
        } finally {
            if ($body === null) {
                \fwrite(\STDERR, $this->finish());
            }
        }
        return $this->response($body);
    }

    /** PHP ends in the middle of a request: what was printed is the answer, unless an error is the reason. */
    public function ended(bool $well): ?Response
    {
        if ($this->output === null) {
            return null;
        }
        $body = $this->finish();
        if ($well) {
            return $this->response($body);
        }
        \fwrite(\STDERR, $body);
        return null;
    }

    /** Gets what is printed; returns what goes on to the log. */
    public function take(string $printed): string
    {
        if ($this->output === null) {
            return $printed;
        }
        $this->output .= $printed;
        return '';
    }

    /** Returns the output, and leaves nothing behind. */
    private function finish(): string
    {
        while (\ob_get_level() && \ob_end_flush());
        $body = $this->output;
        $this->output = null;
        foreach ($this->names as $name) {
            unset($_SERVER[$name], $_ENV[$name]);
        }
        $this->names = [];
        $now = \getenv();
        if ($now !== $this->own) {
            foreach (\array_diff_key($now, $this->own) as $name => $value) {
                \putenv($name);
            }
            foreach (\array_diff_assoc($this->own, $now) as $name => $value) {
                \putenv("$name=$value");
            }
        }
        \chdir($this->home);
        return $body;
    }

    private function response(string $body): Response
    {
        $kind = $this->kind ?: ($body === '' ? null : self::sniffed($body));
        return new Response($body === '' ? null : $body, 200, $kind === null ? [] : ['content-type' => $kind]);
    }

    /** Sets the variables that the classic watchdog gives to each process. */
    private function tell(Request $req): void
    {
        $all = [];
        foreach ($req->headersAll as $name => $values) {
            $all['Http_' . \str_replace('-', '_', \ucwords($name, '-'))] = $values[0];
        }
        unset($all['Http_Query']);
        $all['Http_Method'] = $req->method;
        $all['Http_Path'] = \rawurldecode(toLatin1($req->path) ?? $req->path);
        if ($req->query !== '') {
            $all['Http_Query'] = $req->query;
        }
        if ($req->host !== '') {
            $all['Http_Host'] = $req->host;
        }
        $all['Http_Content_Length'] = $all['Http_ContentLength'] = $req->header('content-length') ?? (string) \strlen($req->body);
        $exposed = \strpos(\ini_get('variables_order'), 'E') !== false;
        foreach ($all as $name => $value) {
            $value = \str_replace("\0", '', $name === 'Http_Path' ? $value : toLatin1($value) ?? $value);
            \putenv("$name=$value");
            $_SERVER[$name] = $value;
            if ($exposed) {
                $_ENV[$name] = $value;
            }
            $this->names[] = $name;
        }
    }

    /** Gives the type that output looks like: HTML, text or neither. */
    private static function sniffed(string $body): string
    {
        $start = \substr($body, 0, 512);
        if (\preg_match('/^\s*<(!doctype html|html|head|body|h1|p>|div|table)/i', $start)) {
            return 'text/html; charset=utf-8';
        }
        return \preg_match('/[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]/', $start) ? 'application/octet-stream' : 'text/plain; charset=utf-8';
    }
}

/** What is written to STDOUT is output as what is printed is. */
final class Output extends \php_user_filter
{
    #[\ReturnTypeWillChange]
    public function filter($in, $out, &$consumed, $closing)
    {
        $passes = \PSFS_FEED_ME;
        while ($bucket = \stream_bucket_make_writeable($in)) {
            $consumed += $bucket->datalen;
            $bucket->data = $this->params->take($bucket->data);
            if ($bucket->data !== '') {
                \stream_bucket_append($out, $bucket);
                $passes = \PSFS_PASS_ON;
            }
        }
        return $passes;
    }
}

Worker::$contract = new Classic();
