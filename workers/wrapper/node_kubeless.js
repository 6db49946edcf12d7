// Handlers of Kubeless in a worker: handler(event, context), answered as its Express server answers. This part is put into
// node.js, before its last line, for the contract kubeless.

usual = 'handler';
const ANYONE = { 'access-control-allow-origin': '*' };

// A module that is a function is the handler, whatever name was given.
const findUsually = find;
find = (module, file, name) => {
  if (name && typeof module === 'function') return { handle: module, init: undefined, label: `${require('path').basename(file)}:${name}` };
  return findUsually(module, file, name);
};

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
      let made = null; // most functions return their answer, and need none
      const response = () => (made ??= newAnswer(resolve));
      const finish = (value) => {
        if (!made) resolve(plain(value));
        else if (!made.writableEnded) made.finish(value);
      };
      const result = handle(eventOf(req, response), { ...context });
      if (result !== null && typeof result === 'object' && typeof result.then === 'function') result.then(finish).catch(reject);
      else if (result !== undefined || !made?.begun) finish(result);
    });
  };
};

// plain is the answer with what a function returned.
function plain(value) {
  const json = typeof value === 'object', body = json || typeof value !== 'string' ? JSON.stringify(value) : value;
  return { status: 200, headers: { ...ANYONE, 'content-type': json ? 'application/json; charset=utf-8' : '' }, body: body || undefined };
}

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
    'event-namespace': headers['event-namespace'], data,
    extensions: {
      request: requestOf(req, multipart || data !== NOTHING && !req.body.length ? {} : req.body, multipart),
      get response() { return response(); },
    },
  };
}

// requestOf has the parts of Express' request that functions use; one of a form with files can be read as a stream. Its body is as it came.
function requestOf(req, body, multipart) {
  const get = (name) => req.headers[name.toLowerCase()];
  const { path, query } = req, url = query ? `${path}?${query}` : path;
  const parts = {
    method: req.method, path, url, originalUrl: url, query: formOf(query, 5, 1000), params: {}, headers: { ...req.headers }, body,
    ip: req.peer, protocol: req.scheme, secure: req.scheme === 'https', hostname: req.host.replace(/:\d+$/, ''), httpVersion: '1.1', baseUrl: '',
    xhr: /^xmlhttprequest$/i.test(get('x-requested-with') || ''), get, header: get, is: (...types) => kindOf(get('content-type'), types.flat()),
  };
  return Object.assign(multipart ? require('stream').Readable.from(req.body.length ? [req.body] : []) : {}, parts);
}

// kindOf is the first of some types that a Content-Type is of, as Express' request.is tells it.
function kindOf(kind, types) {
  const [type, sub] = (kind || '').split(';', 1)[0].trim().toLowerCase().split('/');
  if (!sub) return false;
  for (const wanted of types) {
    const [first, second] = wanted.includes('/') ? wanted.split('/') : ['*', { text: 'plain', urlencoded: 'x-www-form-urlencoded', multipart: '*' }[wanted] || wanted];
    if (wanted === 'multipart' ? type === wanted : (first === '*' || first === type) && (second === '*' || second === sub || second.startsWith('*+') && sub.endsWith(second.slice(1)))) {
      return wanted.includes('*') || wanted === 'multipart' ? `${type}/${sub}` : wanted;
    }
  }
  return false;
}

// newAnswer is event.extensions.response, with the parts of Express' response that functions use. It keeps what is written.
let newAnswer = (resolve) => {
  const { Writable } = require('stream');

  class Answer extends Writable {
    #fields = { ...ANYONE }; #parts = [];

    constructor(done) {
      super({
        write: (chunk, _, next) => {
          this.#parts.push(chunk);
          next();
        },
        final: (next) => {
          const body = Buffer.concat(this.#parts);
          this.#fields['content-type'] ??= ''; // none: Express leaves it out, and so do clients find it
          done({ status: this.statusCode, headers: this.#fields, body: body.length ? body : undefined });
          next();
        },
      });
      this.statusCode = 200;
      this.begun = false;
      this.locals = {};
    }

    get headersSent() { return this.begun; }
    get finished() { return this.writableEnded; }

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
    hasHeader(name) { return name.toLowerCase() in this.#fields; }
    removeHeader(name) { delete this.#fields[name.toLowerCase()]; }
    append(name, value) { return this.set(name, [this.get(name) ?? [], value].flat()); }
    location(url) { return this.set('location', url); }
    vary(field) { return this.set('vary', [this.get('vary') ?? [], field].flat().join(', ')); }

    type(type) {
      const known = { html: 'text/html; charset=utf-8', json: 'application/json; charset=utf-8', text: 'text/plain; charset=utf-8', txt: 'text/plain; charset=utf-8' };
      return this.set('content-type', known[type] || type);
    }

    cookie(name, value, options = {}) {
      let text = `${name}=${encodeURIComponent(typeof value === 'object' ? `j:${JSON.stringify(value)}` : String(value))}`;
      if (options.maxAge != null) text += `; Max-Age=${Math.floor(options.maxAge / 1000)}`;
      if (options.domain) text += `; Domain=${options.domain}`;
      text += `; Path=${options.path ?? '/'}`;
      const expires = options.maxAge != null ? new Date(Date.now() + options.maxAge) : options.expires;
      if (expires) text += `; Expires=${expires.toUTCString()}`;
      if (options.httpOnly) text += '; HttpOnly';
      if (options.secure) text += '; Secure';
      if (options.sameSite) text += `; SameSite=${options.sameSite === true ? 'Strict' : options.sameSite[0].toUpperCase() + options.sameSite.slice(1)}`;
      return this.append('set-cookie', text);
    }

    clearCookie(name, options) { return this.cookie(name, '', { ...options, maxAge: undefined, expires: new Date(1) }); }

    writeHead(code, reason, fields) {
      this.statusCode = code;
      return this.set(typeof reason === 'object' ? reason : fields || {});
    }

    redirect(...args) {
      const [code, url] = args.length > 1 ? args : [302, args[0]];
      this.status(code).location(url).end();
    }

    write(...args) {
      this.begun = true;
      return this.writableEnded || super.write(...args); // what comes after the end reaches nobody
    }

    end(...args) {
      this.begun = true;
      if (this.writableEnded) return this;
      if (args[0] === null) args[0] = undefined;
      return super.end(...args);
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

    sendStatus(code) { return this.status(code).type('text').end(require('http').STATUS_CODES[code]); }

    // finish answers with what the function returned.
    finish(value) {
      if (typeof value === 'object') return this.json(value);
      return this.end(typeof value === 'string' || value === undefined ? value : JSON.stringify(value));
    }
  }

  newAnswer = (done) => new Answer(done);
  return newAnswer(resolve);
};
