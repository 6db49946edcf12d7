// The Node side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames.
//
// Frames are described in docs/worker-protocol.md, the handler contract in docs/handlers.md. The pipes are on the event
// loop, so that what the handler leaves running goes on between requests. Nothing but Node itself is needed.
'use strict';

const fs = require('fs');
const net = require('net');

const REQUEST = 1, DATA = 2, TRAILERS = 3, CANCEL = 4, WINDOW = 5, DRAIN = 7, EXIT = 8, PING = 9;
const HELLO = 0x11, READY = 0x12, INIT_ERROR = 0x13, RESPONSE = 0x21, ERROR = 0x22, PONG = 0x29, BYE = 0x2f;
const LANE = 1, MORE = 2;
const INLINE = 8 << 10, PIECE = 64 << 10, CREDIT = 256 << 10, LIMIT = 1 << 20;

const TEXT = 'content-type\0text/plain; charset=utf-8';
const BINARY = 'content-type\0application/octet-stream';
const JSON_TYPE = 'content-type\0application/json';
const EXPECTED = 'a string, Buffer, undefined, object, array, {status, headers, body}, Response, or a stream';
const NOTHING = Buffer.alloc(0);

const calls = new Map(); // requests in flight, by id
let settings;
let contract = null; // makes a native handler of one that is called otherwise; the part for that comes before the last line
let usual = 'handle'; // the name of a handler that is not named
let out;            // the answer pipe, once requests are served
let rest = null;    // the beginning of a frame
let leaving = null; // DRAIN, EXIT or EOF
let heldSince = 0;  // when the first frame was held back that is not written yet; 0: there is none
let ended = false;

class Unusable extends TypeError {
  get name() { return 'UnusableResult'; }
}

class Cancelled extends Error {
  constructor() { super('the request was cancelled'); }
  get name() { return 'cancelled'; }
}

// Request is what the handler gets. Its parts are decoded when they are first asked for.
class Request {
  #raw; #end; #at; #number; #fields; #headers; #body; #call;

  constructor(raw, end, number, call) {
    this.#raw = raw; // the frame; its meta block ends at #end, an inline body follows
    this.#end = end;
    this.#at = Date.now();
    this.#number = number;
    this.#call = call;
  }

  #field(i) {
    this.#fields ??= this.#raw.latin1Slice(16, this.#end).split('\0');
    return this.#fields[i];
  }

  get method() { return this.#field(0); }
  get path() { return this.#field(1); }
  get query() { return this.#field(2); }
  get scheme() { return this.#field(3).split(' ', 1)[0]; }
  get host() { return this.#field(3).slice(this.scheme.length + 1); }
  get number() { return this.#number; }
  get peer() { return this.#field(4); }
  get id() { return this.headers['x-request-id'] || String(this.#number); }
  get body() { return this.#body ??= this.#raw.subarray(this.#end); }
  get args() { return new URLSearchParams(this.query); }

  // deadline is in milliseconds since the epoch; null without one.
  get deadline() {
    const left = this.#field(5);
    return left ? this.#at + Number(left) : null;
  }

  // remaining returns the milliseconds until the deadline, never below 0; null without one.
  remaining() {
    const deadline = this.deadline;
    return deadline === null ? null : Math.max(0, deadline - Date.now());
  }

  get headers() {
    if (this.#headers) return this.#headers;
    this.#field(0);
    const fields = this.#fields, headers = this.#headers = Object.create(null);
    for (let i = 6; i < fields.length; i += 2) {
      const name = fields[i], before = headers[name];
      headers[name] = before === undefined ? fields[i + 1] : before + (name === 'cookie' ? '; ' : ', ') + fields[i + 1];
    }
    return headers;
  }

  // headersAll has all values of each name, in order.
  get headersAll() {
    this.#field(0);
    const all = Object.create(null);
    for (let i = 6; i < this.#fields.length; i += 2) (all[this.#fields[i]] ??= []).push(this.#fields[i + 1]);
    return all;
  }

  // signal is aborted when nobody waits for the answer any more.
  get signal() {
    const call = this.#call;
    call.abort ??= new AbortController();
    if (call.cancelled) call.abort.abort();
    return call.abort.signal;
  }

  // text returns the body as a string, in the charset of its content type, else UTF-8.
  text() {
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(this.headers['content-type'] || '');
    return charset ? new TextDecoder(charset[1]).decode(this.body) : this.body.toString();
  }

  // json returns the body parsed as JSON; throws a SyntaxError when it is not.
  json() { return JSON.parse(this.body.toString()); }

  static setBody(req, body) { req.#body = body; }
}

const setBody = Request.setBody;
delete Request.setBody;

// Call is a request on its way through the worker.
class Call {
  constructor(number) {
    this.number = number;
    this.req = null;
    this.parts = null;  // of a body that is still coming
    this.taken = 0;
    this.left = CREDIT; // DATA bytes we may send
    this.waiter = null; // goes on when there is more credit
    this.cancelled = false;
    this.abort = null;
    this.stream = null;
  }
}

// Frames out.

function frame(kind, flags, code, number, meta, body) {
  const size = Buffer.byteLength(meta, 'latin1'), length = body.length;
  const buf = Buffer.allocUnsafe(16 + size + length);
  putHeader(buf, size, length, kind, flags, code, number);
  if (size) buf.latin1Write(meta, 16, size);
  if (length) buf.set(body, 16 + size);
  return buf;
}

function putHeader(buf, meta, body, kind, flags, code, number) {
  buf.writeUInt32LE(meta, 0);
  buf.writeUInt32LE(body, 4);
  buf[8] = kind;
  buf[9] = flags;
  buf[10] = code & 255;
  buf[11] = code >> 8;
  buf.writeUInt32LE(number, 12);
}

// say builds a frame of pairs, which are UTF-8 here: only field lines of HTTP are latin-1.
function say(kind, code, number, pairs, body = NOTHING) {
  const meta = pairs.map((p) => String(p).replaceAll('\0', '\\0')).join('\0');
  return frame(kind, 0, code, number, Buffer.from(meta).latin1Slice(), body);
}

// sendNow writes before the event loop has the pipe, or when it will not turn again.
function sendNow(buf) {
  for (let done = 0; done < buf.length;) {
    try {
      done += fs.writeSync(settings.out, buf, done);
    } catch (err) {
      if (err.code !== 'EAGAIN') return;
    }
  }
}

// send writes frames in order without waiting; what may pile up is bounded by the credit of each request. While other
// requests are in flight, which may be about to answer too, frames of one turn of the event loop are one write, if they come
// within 50 µs.
function send(buf) {
  if (heldSince === 0 && calls.size > 0 && settings.limit > 1) {
    out.cork();
    heldSince = performance.now();
    setImmediate(release);
  }
  out.write(buf);
  if (heldSince !== 0 && performance.now() - heldSince > 0.05) release();
}

function release() {
  if (heldSince === 0) return;
  heldSince = 0;
  out.uncork();
}

// Frames in.

function onData(chunk) {
  const data = rest ? Buffer.concat([rest, chunk]) : chunk;
  rest = null;
  let at = 0;
  while (data.length - at >= 16) {
    const meta = data.readUInt32LE(at), size = data.readUInt32LE(at + 4), flags = data[at + 9];
    const inline = flags & LANE ? 0 : size;
    if (meta > LIMIT || inline > LIMIT) return die(`frame too long: ${meta} bytes of meta, ${inline} of body`);
    const stop = at + 16 + meta + inline;
    if (stop > data.length) break;
    take(data[at + 8], flags, data.readUInt32LE(at + 12), data.subarray(at, stop), 16 + meta, size);
    at = stop;
  }
  if (at < data.length) rest = data.subarray(at);
}

function take(kind, flags, number, raw, end, size) {
  const call = calls.get(number);
  switch (kind) {
    case REQUEST:
      if (call) return die(`request ${number} is there already`);
      return begin(flags, number, raw, end, size);
    case DATA:
    case TRAILERS:
      if (call && call.parts) moreBody(call, kind, flags, raw.subarray(end));
      return;
    case CANCEL:
      if (call) cancel(call);
      return;
    case WINDOW:
      if (raw.length - end !== 4) return die(`WINDOW with ${raw.length - end} bytes`);
      if (call) {
        call.left += raw.readUInt32LE(end);
        wake(call);
      }
      return;
    case PING:
      return send(say(PONG, 0, 0, ['rss', process.memoryUsage().rss, 'in_flight', calls.size]));
    case DRAIN:
    case EXIT:
      return leave(kind);
    default:
      if (kind < 0x80) die(`unknown frame type 0x${kind.toString(16).padStart(2, '0')}`);
  }
}

function begin(flags, number, raw, end, size) {
  const call = new Call(number);
  call.req = new Request(raw, end, number, call);
  calls.set(number, call);
  if (flags & LANE) {
    if (size > settings.laneIn) return die(`body of ${size} bytes in a lane of ${settings.laneIn}`);
    const body = Buffer.allocUnsafeSlow(size);
    if (size) fs.readSync(settings.lane, body, 0, size, 0);
    setBody(call.req, body);
  } else if (flags & MORE) {
    call.parts = [raw.subarray(end)];
    return;
  }
  run(call);
}

// moreBody collects a body sent in pieces; the parent may send on as pieces are taken.
function moreBody(call, kind, flags, data) {
  if (kind === DATA) {
    call.parts.push(data);
    call.taken += data.length;
    if (flags & MORE) {
      if (call.taken >= CREDIT / 2) {
        const size = Buffer.alloc(4);
        size.writeUInt32LE(call.taken);
        send(frame(WINDOW, 0, 0, call.number, '', size));
        call.taken = 0;
      }
      return;
    }
  }
  setBody(call.req, Buffer.concat(call.parts));
  call.parts = null;
  run(call);
}

function wake(call) {
  const waiter = call.waiter;
  call.waiter = null;
  if (waiter) waiter();
}

// cancel stops what can be stopped. The answer, an error by now, still waits for the handler to end: only then is the
// worker free.
function cancel(call) {
  call.cancelled = true;
  if (call.parts) return fail(call, new Cancelled());
  if (call.abort) call.abort.abort();
  if (call.stream && typeof call.stream.destroy === 'function') call.stream.destroy();
  wake(call);
}

// leave ends the worker when the last request in flight is answered.
function leave(why) {
  leaving ??= why;
  if (why === 'EOF') {
    for (const call of calls.values()) if (call.parts || call.waiter || call.stream) cancel(call);
  }
  if (!calls.size) quit();
}

function quit() {
  if (ended) return;
  ended = true;
  out.write(leaving === DRAIN ? frame(BYE, 0, 0, 0, '', NOTHING) : NOTHING, () => process.exit(0));
}

function die(why) {
  fs.writeSync(2, `fnpod worker: ${why}\n`);
  process.exit(1);
}

// Answers.

function run(call) {
  let result;
  try {
    result = settings.handle(call.req);
  } catch (err) {
    return fail(call, err);
  }
  if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
    result.then((value) => answer(call, value), (err) => fail(call, err));
  } else {
    answer(call, result);
  }
}

// answer sends whatever a handler may return.
function answer(call, result) {
  if (call.cancelled) return fail(call, new Cancelled());
  try {
    if (typeof result === 'string') return answerText(call, result);
    const { status, pairs, type, body, items } = render(result);
    if (items) {
      stream(call, status, pairs, items).catch((err) => fail(call, err));
    } else {
      answerBytes(call, status, metaOf(pairs, type), body);
    }
  } catch (err) {
    fail(call, err);
  }
}

// answerText is the short way for small text.
function answerText(call, text) {
  const length = Buffer.byteLength(text);
  if (length > INLINE) return answerBytes(call, 200, TEXT, Buffer.from(text));
  const buf = Buffer.allocUnsafe(16 + TEXT.length + length);
  putHeader(buf, TEXT.length, length, RESPONSE, 0, 200, call.number);
  buf.latin1Write(TEXT, 16, TEXT.length);
  buf.utf8Write(text, 16 + TEXT.length, length);
  done(call);
  send(buf);
}

function done(call) {
  calls.delete(call.number);
  if (leaving && !calls.size) setImmediate(quit); // behind the frame that is sent now
}

function answerBytes(call, status, meta, body) {
  const size = body.length;
  if (size <= INLINE) {
    done(call);
    return send(frame(RESPONSE, 0, status, call.number, meta, body));
  }
  if (size <= settings.laneOut && settings.limit === 1) {
    for (let at = 0; at < size;) at += fs.writeSync(settings.lane, body, at, size - at, settings.laneIn + at);
    const buf = frame(RESPONSE, LANE, status, call.number, meta, NOTHING);
    buf.writeUInt32LE(size, 4);
    done(call);
    return send(buf);
  }
  const pairs = meta ? meta.split('\0') : [];
  const kept = pairs.filter((_, i) => pairs[i & ~1] !== 'content-length');
  send(frame(RESPONSE, MORE, status, call.number, [...kept, 'content-length', size].join('\0'), NOTHING));
  spend(call, body).then(() => end(call), (err) => fail(call, err));
}

function end(call) {
  done(call);
  send(frame(DATA, 0, 0, call.number, '', NOTHING));
}

// spend sends data in pieces and waits for the parent where it must.
async function spend(call, data) {
  for (let at = 0; at < data.length;) {
    while (call.left <= 0 && !call.cancelled && leaving !== 'EOF') {
      await new Promise((go) => { call.waiter = go; });
    }
    if (call.cancelled || call.left <= 0) throw new Cancelled();
    const n = Math.min(data.length - at, PIECE, call.left);
    call.left -= n;
    send(frame(DATA, MORE, 0, call.number, '', data.subarray(at, at + n)));
    at += n;
  }
}

// stream sends the items of an iterable as they come. The head goes with the first, so that an early error is a 500.
async function stream(call, status, pairs, items) {
  let head = true;
  call.stream = items;
  try {
    for await (const item of items) {
      if (call.cancelled) throw new Cancelled();
      const data = bytesOf(item);
      if (!data) throw new Unusable(`handler yielded ${nameOf(item)}; expected a string or Buffer`);
      if (head) {
        send(frame(RESPONSE, MORE, status, call.number, metaOf(pairs, typeof item === 'string' ? TEXT : BINARY), NOTHING));
        head = false;
      }
      await spend(call, data);
    }
  } catch (err) {
    throw call.cancelled ? new Cancelled() : err;
  }
  if (call.cancelled) throw new Cancelled();
  if (!head) return end(call);
  done(call);
  send(frame(RESPONSE, 0, status, call.number, metaOf(pairs, ''), NOTHING));
}

// render returns status, checked header pairs, and either the body with the header it implies or items to stream.
function render(result) {
  let status = 200, headers = null, body = result;
  if (isResponse(result)) {
    ({ status, body } = result);
    headers = [...result.headers].filter(([name]) => name !== 'set-cookie');
    const cookies = typeof result.headers.getSetCookie === 'function' ? result.headers.getSetCookie() : [];
    for (const cookie of cookies) headers.push(['set-cookie', cookie]);
  } else if (isAnswer(result)) {
    ({ headers, body } = result);
    status = result.status === undefined ? (body === undefined || body === null ? 204 : 200) : result.status;
  } else if (result === undefined || result === null) {
    status = 204;
  }
  if (!Number.isInteger(status)) throw new Unusable(`handler returned ${nameOf(status)} as status; expected an integer`);
  if (status < 200 || status > 599) throw new Unusable(`handler returned status ${status}; expected 200 to 599`);
  const pairs = pairsOf(headers);
  if (body === undefined || body === null) return { status, pairs, type: '', body: NOTHING };
  const bytes = bytesOf(body);
  if (bytes) return { status, pairs, type: typeof body === 'string' ? TEXT : BINARY, body: bytes };
  const kind = typeof body;
  if (kind === 'object' && (typeof body[Symbol.asyncIterator] === 'function' ||
      (typeof body[Symbol.iterator] === 'function' && typeof body.next === 'function'))) {
    return { status, pairs, items: body };
  }
  if (kind !== 'object' || !(Array.isArray(body) || typeof body.toJSON === 'function' || tagOf(body) === '[object Object]')) {
    throw new Unusable(`handler returned ${nameOf(body)}; expected ${EXPECTED}`);
  }
  return { status, pairs, type: JSON_TYPE, body: encodeJSON(body) };
}

function encodeJSON(value) {
  let text;
  try {
    text = JSON.stringify(value);
  } catch (err) {
    throw new Unusable(`handler returned ${nameOf(value)} that is not JSON: ${err.message}`);
  }
  if (text === undefined) throw new Unusable(`handler returned ${nameOf(value)} that is not JSON`);
  return Buffer.from(text);
}

// isAnswer recognises {status, headers, body}: a plain object with no other keys, that has a body or an integer status.
function isAnswer(value) {
  if (value === null || typeof value !== 'object') return false;
  const proto = Object.getPrototypeOf(value);
  if (proto !== null && proto !== Object.prototype) return false;
  for (const key of Object.keys(value)) if (key !== 'status' && key !== 'headers' && key !== 'body') return false;
  return 'body' in value || Number.isInteger(value.status);
}

// isResponse recognises the answer of fetch without loading fetch.
function isResponse(value) {
  return value !== null && typeof value === 'object' && tagOf(value) === '[object Response]' && Number.isInteger(value.status);
}

// bytesOf returns the bytes of a string, Buffer, typed array or ArrayBuffer; null for anything else.
function bytesOf(value) {
  if (typeof value === 'string') return Buffer.from(value);
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer || tagOf(value) === '[object ArrayBuffer]') return Buffer.from(value);
  return null;
}

function tagOf(value) { return Object.prototype.toString.call(value); }

// nameOf names the type of a value with its article.
function nameOf(value) {
  let name = value === null ? 'null' : typeof value;
  if (name === 'object') name = (value.constructor && value.constructor.name) || 'object';
  if (name === 'undefined' || name === 'null') return name;
  return (/^[aeiou]/i.test(name) ? 'an ' : 'a ') + name;
}

// pairsOf returns checked name, value, name, value of an object, a Map, Headers or pairs; an array as value repeats the name.
function pairsOf(headers) {
  const pairs = [];
  if (headers === undefined || headers === null) return pairs;
  if (typeof headers !== 'object') throw new Unusable(`handler returned ${nameOf(headers)} as headers; expected an object`);
  const entries = typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers);
  for (const entry of entries) {
    const name = String(entry[0]).toLowerCase();
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) {
      throw new Unusable(`handler returned a header with the name ${JSON.stringify(name)}`);
    }
    for (const value of Array.isArray(entry[1]) ? entry[1] : [entry[1]]) {
      if (typeof value !== 'string' && typeof value !== 'number') {
        throw new Unusable(`handler returned ${nameOf(value)} as value of the header ${name}; expected a string`);
      }
      if (/[\r\n\0]/.test(value)) throw new Unusable(`handler returned a line break or NUL in the header ${name}`);
      if (/[^\0-\xff]/.test(value)) throw new Unusable(`handler returned characters beyond latin-1 in the header ${name}`);
      pairs.push(name, String(value));
    }
  }
  return pairs;
}

// metaOf joins header pairs; the handler's content type wins over the implied one.
function metaOf(pairs, type) {
  let meta = pairs.join('\0');
  if (type && !pairs.some((name, i) => i % 2 === 0 && name === 'content-type')) meta = meta ? `${type}\0${meta}` : type;
  if (meta.length > LIMIT) throw new Unusable(`handler returned ${meta.length} bytes of headers; the limit is ${LIMIT}`);
  return meta;
}

// Errors.

// fail answers a request with what its handler threw.
function fail(call, err) {
  if (calls.get(call.number) !== call) return; // answered already
  done(call);
  send(errorFrame(ERROR, 500, call.number, err));
}

function errorFrame(kind, code, number, err) {
  const { type, message, trace } = describe(err);
  return say(kind, code, number, ['type', type, 'message', message], Buffer.from(trace));
}

// describe returns type, message and stack of what was thrown, without the frames of the wrapper.
function describe(err) {
  try {
    if (!(err instanceof Error) && tagOf(err) !== '[object Error]') {
      const text = typeof err === 'object' ? JSON.stringify(err) : String(err);
      return { type: nameOf(err).replace(/^an? /, ''), message: shorten(String(text), 1000), trace: `thrown: ${shorten(String(text), 7000)}\n` };
    }
    const own = err instanceof Unusable || err instanceof Cancelled;
    const message = String(err.message);
    const trace = own ? `${err.name}: ${message}\n` : stackOf(err);
    return { type: String(err.name), message: shorten(message, 1000), trace: shorten(trace, 7000) };
  } catch (err2) {
    return { type: 'Error', message: 'what was thrown cannot be shown', trace: '' };
  }
}

function stackOf(err) {
  let trace = '';
  for (let depth = 0; err instanceof Error && depth < 8; err = err.cause, depth++) {
    const lines = String(err.stack || `${err.name}: ${err.message}`).split('\n')
      .filter((line) => !/^\s+at /.test(line) || !(line.includes(`${__filename}:`) || line.includes('node:internal')));
    trace += (depth ? 'caused by: ' : '') + lines.join('\n') + '\n';
  }
  return trace;
}

// shorten keeps the beginning and the end of a text; three bytes per character is the most UTF-8 takes of a string's length.
function shorten(text, limit) {
  if (Buffer.byteLength(text) <= limit) return text;
  const part = limit / 6 | 0;
  return `${text.slice(0, part)}\n[…]\n${text.slice(-part)}`;
}

// initError reports why the handler cannot be used, and ends the worker.
function initError(err) {
  process.removeAllListeners('exit');
  sendNow(errorFrame(INIT_ERROR, 0, 0, err));
  process.exit(1);
}

// uncaught ends the worker: nobody knows in which state the error has left the function. All requests in flight get it,
// for it cannot be told which of them it belongs to. BYE goes with it in one write, so that no other request comes.
function uncaught(err) {
  if (!out) return initError(err);
  if (!calls.size) fs.writeSync(2, describe(err).trace);
  ended = true;
  out.cork();
  for (const call of [...calls.values()]) fail(call, err);
  out.write(frame(BYE, 0, 0, 0, '', NOTHING), () => process.exit(1));
  out.uncork();
}

// Start.

function readSettings() {
  const env = {};
  for (const key of Object.keys(process.env)) {
    if (!key.startsWith('FNPOD_WORKER_')) continue;
    env[key.slice(13)] = process.env[key];
    delete process.env[key];
  }
  const [first, last] = String(env.PROTOCOL).split('-').map(Number);
  const [input, output] = String(env.FDS).split(',').map(Number);
  const [lane, laneIn, laneOut] = (env.LANE || '-1,0,0').split(',').map(Number);
  const at = String(env.HANDLER).lastIndexOf(':');
  const limit = Number(env.CONCURRENCY || 1);
  if (!env.HANDLER || at < 0 || ![first, last, input, output, lane, laneIn, laneOut, limit].every(Number.isInteger)) {
    die('this file is started by fnpod as a worker');
  }
  if (first > 1 || last < 1) die(`it speaks protocol 1, not ${env.PROTOCOL}`);
  settings = {
    in: input, out: output, lane, laneIn, laneOut, limit, handle: null,
    file: env.HANDLER.slice(0, at), name: env.HANDLER.slice(at + 1), contract: env.CONTRACT, told: env,
  };
}

// load returns the handler's module, of either kind.
async function load(file) {
  try {
    if (fs.statSync(file).isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    fs.accessSync(file, fs.constants.R_OK);
  } catch (err) {
    err.message = `cannot read the handler: ${err.message}`;
    throw err;
  }
  if (!file.endsWith('.mjs')) {
    try {
      return require('module').createRequire(file)(file);
    } catch (err) {
      if (err instanceof SyntaxError && /import statement|Unexpected token 'export'|import\.meta/.test(err.message)) {
        err.message += ' (an ES module needs the extension .mjs or "type": "module" in package.json)';
      }
      const isModule = err && /^ERR_REQUIRE_(ESM|ASYNC_MODULE)$/.test(err.code);
      if (!isModule || (err.code === 'ERR_REQUIRE_ESM' && !err.message.includes(file))) throw err;
    }
  }
  return import(require('url').pathToFileURL(file));
}

// find returns the handler and init of a module: the named function, else the default export, module.exports or handle.
function find(module, file, name) {
  const base = require('path').basename(file);
  const inner = module && module.default;
  const places = [module, inner].filter((m) => m && (typeof m === 'object' || typeof m === 'function'));
  const init = places.map((m) => m.init).find((f) => typeof f === 'function');
  if (!name) {
    const handle = [module, inner, ...places.map((m) => m[usual])].find((f) => typeof f === 'function');
    if (handle) return { handle, init, label: `${base}:${module === handle || inner === handle ? 'default' : usual}` };
  }
  const wanted = name || usual;
  for (const place of places) {
    const found = wanted.split('.').reduce((at, part) => (at === undefined || at === null ? undefined : at[part]), place);
    if (typeof found === 'function') return { handle: found, init, label: `${base}:${wanted}` };
    if (found !== undefined) throw new TypeError(`'${wanted}' in ${base} is ${nameOf(found)}, not a function`);
  }
  const there = places.flatMap((m) => Object.keys(m).filter((key) => typeof m[key] === 'function'));
  const what = name ? `function '${name}'` : `default export, module.exports function or function '${usual}'`;
  throw Object.assign(new Error(`${base} exports no ${what}; it exports ${[...new Set(there)].join(', ') || 'no functions'}`),
    { name: 'LookupError' });
}

async function main() {
  readSettings();
  sendNow(say(HELLO, 1, 0, ['language', 'node', 'runtime', process.versions.node, 'pid', process.pid,
    'features', 'lane,mux,stream']));
  const start = process.hrtime.bigint();
  process.on('uncaughtException', uncaught);
  const exited = (code) => {
    sendNow(errorFrame(INIT_ERROR, 0, 0, new Error(`the process ended while the handler was starting, with code ${code}`)));
    process.exitCode = 1;
  };
  process.on('exit', exited);
  let label;
  try {
    const module = await load(settings.file);
    const found = find(module, settings.file, settings.name);
    settings.handle = contract ? await contract(found.handle, module, found.label) : found.handle;
    label = found.label;
    if (!contract && found.init && found.init !== found.handle) await found.init();
  } catch (err) {
    return initError(err);
  }
  process.removeListener('exit', exited);
  serve();
  const ms = Number((process.hrtime.bigint() - start) / 1000000n);
  send(say(READY, settings.limit, 0, ['handler', label, 'init_ms', ms]));
}

// serve puts both pipes on the event loop. A pipe there is non-blocking and writes queue what it does not take.
function serve() {
  const input = new net.Socket({ fd: settings.in, readable: true, writable: settings.in === settings.out });
  out = settings.in === settings.out ? input : new net.Socket({ fd: settings.out, readable: false, writable: true });
  input.on('data', onData);
  input.on('end', () => (rest ? die('request pipe ended inside a frame') : leave('EOF')));
  input.on('error', (err) => die(`request pipe: ${err.message}`));
  out.on('error', (err) => die(`answer pipe: ${err.message}`));
}

main();
