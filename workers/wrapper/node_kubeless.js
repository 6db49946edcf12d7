// Handlers of Kubeless in a worker: handler(event, context), answered as its Express server answers. This part is put into
// node.js, before its last line, for the contract kubeless.

usual = 'handler';
const ANYONE = { 'access-control-allow-origin': '*' };

// A call that is given up runs on, as there. A worker that has others need not wait for its end.
const cancelUsually = cancel;
cancel = (call) => {
  cancelUsually(call);
  if (settings.limit > 1) fail(call, new Cancelled());
};

contract = (handle, module, label) => {
  const context = {
    'function-name': label.slice(label.lastIndexOf(':') + 1), timeout: Number(process.env.FUNC_TIMEOUT || 180),
    runtime: process.env.FUNC_RUNTIME, 'memory-limit': process.env.FUNC_MEMORY_LIMIT,
  };
  const most = Number(process.env.REQ_MB_LIMIT || 1) * (1 << 20);
  return (req) => {
    if (req.method === 'OPTIONS') return preflight(req.headers);
    if (req.body.length > most && !/^multipart\//i.test(req.headers['content-type'] || '')) return { status: 413, headers: ANYONE, body: 'Payload Too Large' };
    return new Promise((resolve, reject) => {
      const response = new Answer(resolve);
      const finish = (value) => { if (!response.ended) response.finish(value); };
      const result = handle(eventOf(req, response), { ...context });
      if (result !== null && typeof result === 'object' && typeof result.then === 'function') result.then(finish).catch(reject);
      else if (result !== undefined || !response.begun) finish(result);
    });
  };
};

function preflight(headers) {
  return {
    status: 200,
    headers: {
      ...ANYONE, 'access-control-allow-methods': String(headers['access-control-request-method']),
      'access-control-allow-headers': String(headers['access-control-request-headers']),
    },
    body: undefined,
  };
}

function eventOf(req, response) {
  const { headers } = req, type = (headers['content-type'] || '').split(';', 1)[0].trim().toLowerCase();
  const multipart = type.startsWith('multipart/');
  let data = {};
  if (!multipart && req.body.length) data = type === 'application/json' ? JSON.parse(req.body.toString()) : req.body.toString();
  else if (!multipart && headers['content-length'] === '0') data = NOTHING;
  return {
    'event-type': headers['event-type'], 'event-id': headers['event-id'], 'event-time': headers['event-time'],
    'event-namespace': headers['event-namespace'], data, extensions: { request: requestOf(req, data, multipart), response },
  };
}

// requestOf has the parts of Express' request that functions use; one of a form with files can be read as a stream.
function requestOf(req, body, multipart) {
  const get = (name) => req.headers[name.toLowerCase()];
  const { path, query } = req, url = query ? `${path}?${query}` : path;
  const parts = {
    method: req.method, path, url, originalUrl: url, query: formOf(query, 5, 1000), params: {}, headers: { ...req.headers }, body,
    ip: req.peer, protocol: req.scheme, hostname: req.host.replace(/:\d+$/, ''), httpVersion: '1.1', get, header: get,
  };
  return Object.assign(multipart ? require('stream').Readable.from(req.body.length ? [req.body] : []) : {}, parts);
}

// Answer is event.extensions.response, with the parts of Express' response that functions use. It keeps what is written.
class Answer {
  #resolve; #fields = { ...ANYONE }; #parts = [];

  constructor(resolve) {
    this.#resolve = resolve;
    this.statusCode = 200;
    this.begun = this.ended = false;
  }

  get headersSent() { return this.begun; }
  get writableEnded() { return this.ended; }
  get finished() { return this.ended; }

  status(code) {
    this.statusCode = code;
    return this;
  }

  set(name, value) {
    const fields = typeof name === 'object' ? name : { [name]: value };
    for (const [key, v] of Object.entries(fields)) this.#fields[key.toLowerCase()] = Array.isArray(v) ? v.map(String) : String(v);
    return this;
  }

  setHeader(name, value) { return this.set(name, value); }
  header(name, value) { return this.set(name, value); }
  get(name) { return this.#fields[name.toLowerCase()]; }
  getHeader(name) { return this.get(name); }
  removeHeader(name) { delete this.#fields[name.toLowerCase()]; }
  type(type) { return this.set('content-type', type); }

  writeHead(code, reason, fields) {
    this.statusCode = code;
    return this.set(typeof reason === 'object' ? reason : fields || {});
  }

  redirect(...args) {
    const [code, url] = args.length > 1 ? args : [302, args[0]];
    this.status(code).set('location', url).end();
  }

  write(data, encoding) {
    this.begun = true;
    if (!this.ended) this.#parts.push(typeof data === 'string' ? Buffer.from(data, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(data));
    return true;
  }

  end(data, encoding) {
    if (this.ended) return this;
    if (data !== undefined && data !== null && typeof data !== 'function') this.write(data, encoding);
    this.begun = this.ended = true;
    const body = Buffer.concat(this.#parts);
    this.#fields['content-type'] ??= ''; // none: Express leaves it out, and so do clients find it
    this.#resolve({ status: this.statusCode, headers: this.#fields, body: body.length ? body : undefined });
    return this;
  }

  send(value) {
    if (Buffer.isBuffer(value)) this.#fields['content-type'] ??= 'application/octet-stream';
    else if (typeof value === 'string') this.#fields['content-type'] ??= 'text/html; charset=utf-8';
    else if (value !== undefined && value !== null) return this.json(value);
    return this.end(value);
  }

  json(value) {
    this.#fields['content-type'] ??= 'application/json; charset=utf-8';
    return this.end(JSON.stringify(value));
  }

  sendStatus(code) { return this.status(code).type('text/plain; charset=utf-8').end(require('http').STATUS_CODES[code]); }

  // finish answers with what the function returned.
  finish(value) {
    if (typeof value === 'object') return this.json(value);
    return this.end(typeof value === 'string' || value === undefined ? value : JSON.stringify(value));
  }
}
