// Handlers of OpenFaaS' Node templates in a worker: called as the templates call them, answered as Express answers. This
// part is put into node.js, before its last line, for the contracts openfaas-http and openfaas-classic.

contract = (handle) => (settings.contract === 'openfaas-classic' ? classic(handle) : withEvent(handle));

// Refusal is a request that the template's server does not give to the handler.
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  get answer() {
    const title = `${this.status} ${require('http').STATUS_CODES[this.status]}`;
    return {
      status: this.status, headers: { 'content-type': 'text/html; charset=utf-8' },
      body: `<!doctype html>\n<html lang=en>\n<title>${title}</title>\n<h1>${title}</h1>\n`,
    };
  }
}

// withEvent returns a native handler around handle(event, context, callback).
function withEvent(handle) {
  const sizes = { text: 100 << 10, json: sizeOf(process.env.MAX_JSON_SIZE), raw: sizeOf(process.env.MAX_RAW_SIZE) };
  const raw = process.env.RAW_BODY === 'true';
  return (req) => {
    let event;
    try {
      event = eventOf(req, raw, sizes);
    } catch (err) {
      if (err instanceof Refusal) return err.answer;
      throw err;
    }
    return new Promise((resolve, reject) => {
      let answered = false;
      const answer = (value, headers) => {
        const result = sent(req, value, context.status(), headers);
        if (answered) return console.error('the handler has answered already; this answer is lost');
        answered = true;
        resolve(result);
      };
      const callback = (err, value) => {
        if (!err) return answer(isPlain(value) ? JSON.stringify(value) : value, context.headers());
        console.error(err);
        answer(err.toString ? err.toString() : err);
      };
      const context = new Context(callback);
      // What handle throws is no rejection: it ends the template's server, and here the call.
      Promise.resolve(handle(event, context, callback))
        .then((value) => { if (!context.cbCalled) context.succeed(value); })
        .catch(callback).catch(reject);
    });
  };
}

class Context {
  constructor(cb) {
    this.cb = cb;
    this.cbCalled = 0;
    this.statusCode = 200;
    this.headerValues = {};
  }

  status(code) {
    if (!code) return this.statusCode;
    this.statusCode = code;
    return this;
  }

  headers(values) {
    if (!values) return this.headerValues;
    this.headerValues = values;
    return this;
  }

  succeed(value) {
    this.cbCalled++;
    this.cb(undefined, value);
  }

  fail(value) {
    if (String(this.statusCode) === '200') this.statusCode = 500;
    this.cbCalled++;
    this.cb(value);
  }
}

// isPlain reports what the templates turn into JSON themselves.
function isPlain(value) { return !!value && (value.constructor === Array || value.constructor === Object); }

// What handlers get.

function eventOf(req, raw, sizes) {
  const headers = { ...req.headers };
  if (!headers['content-type']) headers['content-type'] = 'text/plain';
  return {
    body: bodyOf(req, headers, raw, sizes), headers, method: req.method,
    query: formOf(req.query, 5, 1000), path: req.path,
  };
}

// bodyOf parses a body by its type. What has no type we know, or is not there, is an empty object.
function bodyOf(req, headers, raw, sizes) {
  if (!('content-length' in headers) && !req.body.length) return {};
  const type = headers['content-type'].split(';', 1)[0].trim().toLowerCase();
  if (!/^[^/\s]+\/[^/\s]+$/.test(type)) return {};
  if (raw) return inflated(req.body, headers, sizes.raw);
  const charset = (/;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(headers['content-type']) || [, 'utf-8'])[1].toLowerCase();
  if (type.startsWith('text/')) return decoded(inflated(req.body, headers, sizes.text), charset);
  if (type === 'application/json') {
    if (!charset.startsWith('utf-')) throw new Refusal(415, 'charset');
    const text = decoded(inflated(req.body, headers, sizes.json), charset);
    if (!text.length) return {};
    if (!/^[ \t\r\n]*[[{]/.test(text)) throw new Refusal(400, 'neither object nor array');
    try {
      return JSON.parse(text);
    } catch (err) {
      throw new Refusal(400, err.message);
    }
  }
  if (type === 'application/x-www-form-urlencoded') {
    if (charset !== 'utf-8') throw new Refusal(415, 'charset');
    const text = decoded(inflated(req.body, headers, sizes.text), charset), count = text.split('&').length;
    if (count > 1000) throw new Refusal(413, 'parameters');
    return text ? formOf(text, 32, Math.max(100, count)) : {};
  }
  return {};
}

function inflated(body, headers, most) {
  const coding = (headers['content-encoding'] || 'identity').toLowerCase();
  if (coding === 'gzip' || coding === 'deflate') {
    const zlib = require('zlib');
    try {
      body = zlib[coding === 'gzip' ? 'gunzipSync' : 'inflateSync'](body, { maxOutputLength: most });
    } catch (err) {
      throw new Refusal(err.code === 'ERR_BUFFER_TOO_LARGE' ? 413 : 400, err.message);
    }
  } else if (coding !== 'identity') {
    throw new Refusal(415, 'content-encoding');
  }
  if (body.length > most) throw new Refusal(413, 'body');
  return body;
}

function decoded(body, charset) {
  try {
    return new TextDecoder(charset).decode(body);
  } catch {
    throw new Refusal(415, 'charset');
  }
}

// sizeOf reads a size such as 100kb; what is none is no limit.
function sizeOf(text) {
  if (!text) return 100 << 10;
  const unit = /^([+-]?\d+(?:\.\d+)?) *(kb|mb|gb|tb|pb)?$/i.exec(text);
  const number = unit ? Number(unit[1]) : parseInt(text, 10);
  if (Number.isNaN(number)) return 2 ** 31;
  return Math.min(2 ** 31, Math.floor(number * 1024 ** ['kb', 'mb', 'gb', 'tb', 'pb'].indexOf((unit && unit[2] || '').toLowerCase()) * 1024));
}

// What Express makes of an answer.

function sent(req, value, status, headers) {
  const fields = {};
  for (const [name, v] of Object.entries(headers || {})) {
    const key = name.toLowerCase();
    fields[key] = Array.isArray(v) ? v.map(String) : String(v);
    if (key === 'content-type' && !/;\s*charset\s*=/.test(fields[key]) && /^(text\/|application\/(javascript|json))/.test(fields[key])) fields[key] += '; charset=utf-8';
  }
  let type = fields['content-type'], body = value;
  if (typeof body === 'number') {
    status = body;
    type ??= 'text/plain; charset=utf-8';
    body = require('http').STATUS_CODES[status];
  } else if (typeof body === 'boolean' || (typeof body === 'object' && body !== null && !Buffer.isBuffer(body))) {
    type ??= 'application/json; charset=utf-8';
    body = JSON.stringify(body);
  }
  status = Number(status);
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw Object.assign(new RangeError(`Invalid status code: ${status}`), { code: 'ERR_HTTP_INVALID_STATUS_CODE' });
  }
  if (typeof body === 'string') {
    type = type === undefined ? 'text/html; charset=utf-8' : withCharset(type);
    body = Buffer.from(body);
  } else if (Buffer.isBuffer(body)) {
    type ??= 'application/octet-stream';
  } else {
    body = body === null ? NOTHING : undefined; // there is nothing else, but symbols and functions
  }
  if (body !== undefined) fields.etag ??= etagOf(body);
  if (fields.etag && /^(GET|HEAD)$/.test(req.method) && status >= 200 && status < 300 && matches(req.headers, fields.etag)) status = 304;
  if (type !== undefined) fields['content-type'] = type;
  if (status === 204 || status === 304) delete fields['content-type'];
  if (status === 204 || status === 304 || status === 205) body = undefined;
  return { status, headers: fields, body: body && body.length ? body : undefined };
}

function withCharset(type) {
  const kept = type.split(';').map((p) => p.trim()).filter((p) => p && !/^charset\s*=/i.test(p));
  return [...kept, 'charset=utf-8'].join('; ');
}

function etagOf(body) {
  const hash = require('crypto').createHash('sha1').update(body).digest('base64').slice(0, 27);
  return `W/"${body.length.toString(16)}-${hash}"`;
}

function matches(headers, etag) {
  const wanted = headers['if-none-match'];
  if (!wanted || /(?:^|,)\s*?no-cache\s*?(?:,|$)/.test(headers['cache-control'] || '')) return false;
  const bare = (tag) => tag.trim().replace(/^W\//, '');
  return wanted === '*' || wanted.split(',').some((tag) => bare(tag) === bare(etag));
}

// classic returns a native handler around handle(text, callback), whose output is the answer.
function classic(handle) {
  settings.limit = 1; // output and environment are the process's
  const write = process.stdout.write.bind(process.stdout), environment = process.env.cgi_headers;
  const own = { ...process.env }, home = process.cwd();
  let output = null;
  process.stdout.write = (data, encoding, done) => {
    if (!output) return write(data, encoding, done);
    output.push(typeof data === 'string' ? Buffer.from(data, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(data));
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback) process.nextTick(callback);
    return true;
  };
  return async (req) => {
    if (!/^(GET|POST|PUT|PATCH|DELETE)$/.test(req.method)) return { status: 405 };
    const variables = environment === undefined || environment === 'true' ? variablesOf(req) : {};
    Object.assign(process.env, variables);
    output = [];
    try {
      await outcome(handle, req.body.toString());
    } catch (err) {
      console.error(err); // as in the template, the output so far is the answer
    }
    const body = Buffer.concat(output);
    output = null;
    for (const name of Object.keys(process.env)) if (!(name in own)) delete process.env[name];
    for (const name of Object.keys(own)) if (process.env[name] !== own[name]) process.env[name] = own[name];
    process.chdir(home);
    const type = process.env.content_type || req.headers['content-type'] || (body.length ? sniffed(body) : '');
    return { status: 200, headers: type ? { 'content-type': type } : {}, body: body.length ? body : undefined };
  };
}

// outcome calls a handler and prints what it gives back; it ends with the promise, else with the callback, if there is one.
function outcome(handle, text) {
  return new Promise((resolve, reject) => {
    const print = (err, value) => {
      if (err) console.error(err);
      else if (isPlain(value)) console.log(JSON.stringify(value));
      else if (value) process.stdout.write(value);
    };
    let waits = true; // until it is known whether there is a promise
    let called = handle.length < 2;
    const result = handle(text, (err, value) => {
      called = true;
      print(err, value);
      if (!waits) resolve();
    });
    if (result instanceof Promise) return result.then((value) => print(undefined, value)).then(resolve, reject);
    waits = false;
    if (called) resolve();
  });
}

// variablesOf are the variables that the classic watchdog gives to each process.
function variablesOf(req) {
  const variables = {};
  for (const [name, values] of Object.entries(req.headersAll)) {
    variables['Http_' + name.split('-').map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('_')] = values[0];
  }
  delete variables.Http_Query;
  variables.Http_Method = req.method;
  variables.Http_Path = unescapedPath(req.path);
  if (req.query) variables.Http_Query = req.query;
  if (req.host) variables.Http_Host = req.host;
  variables.Http_Content_Length = variables.Http_ContentLength = req.headers['content-length'] || String(req.body.length);
  return variables;
}

function unescapedPath(path) {
  const bytes = Buffer.from(path.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
  return bytes.toString().replaceAll('\0', '');
}

// sniffed gives the type that output looks like: HTML, text or neither.
function sniffed(body) {
  const start = body.subarray(0, 512);
  if (/^\s*<(!doctype html|html|head|body|h1|p|div|table)/i.test(start.latin1Slice())) return 'text/html; charset=utf-8';
  return start.some((c) => c < 9 || c === 11 || (c > 13 && c < 27) || (c > 27 && c < 32)) ? 'application/octet-stream' : 'text/plain; charset=utf-8';
}
