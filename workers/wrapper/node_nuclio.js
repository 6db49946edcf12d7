// Handlers of Nuclio in a worker: called with context and event, answered by context.callback. This part is put into
// node.js, before its last line, for the contract nuclio.

const LOG = 0x23, LEVELS = ['debug', 'info', 'warn', 'error'], MOST_LOG = 64 << 10, MOST_FIELD = 4096;
const UNSENT = /^(content-length|transfer-encoding|connection|date|keep-alive|upgrade|trailer|te)$/;

const readAll = readSettings; // as it is without this part
readSettings = () => {
  readAll();
  settings.name ||= 'handler';
};

let event = null;  // in progress: its number, and the log lines that its client wants
let events = null; // knows which one is in progress, where there may be several

contract = async (handle, module) => {
  if (settings.limit > 1) events = new (require('async_hooks').AsyncLocalStorage)();
  const context = new Context();
  const init = (module && module.initContext) || (module && module.default && module.default.initContext);
  if (typeof init === 'function') await init(context);
  return (req) => {
    let given;
    try {
      given = eventOf(req);
    } catch (err) {
      return { status: 500, headers: [['content-type', TEXT.slice(13)]], body: 'Failed to wrap structured cloud event' };
    }
    const level = req.headers['x-nuclio-log-level'];
    const own = event = {
      number: req.number, trigger: given.trigger.name, lines: level === undefined ? null : [],
      least: Math.max(LEVELS.indexOf(String(level).toLowerCase()), 0), over: false,
    };
    return new Promise((resolve, reject) => {
      const end = (answer) => {
        if (own.over) return console.error('the handler has answered already; this answer is lost');
        if (own.lines) withLines(answer, own.lines, context);
        own.over = true;
        if (event === own) event = null;
        resolve(answer);
      };
      const failed = (err) => {
        if (own.over) return console.error(err);
        if (!('NUCLIO_PLATFORM' in settings.told)) { // not in the place of the processor: what was thrown is for the log alone
          own.over = true;
          if (event === own) event = null;
          return reject(err);
        }
        const text = `Error in handler: ${err}\n${err && err.stack}`;
        context.logger.error('Error in handler', { err: String(err), stack: err && err.stack });
        end({ status: 500, headers: [['content-type', 'text/plain']], body: text });
      };
      const callback = (value) => {
        let answer;
        try {
          answer = answerOf(value);
        } catch (err) {
          return failed(err);
        }
        end(answer);
      };
      // What is set on the context stays for the next event; the callback is this event's own.
      const shown = new Proxy(context, { get: (base, key) => (key === 'callback' ? callback : base[key]) });
      try {
        const result = events ? events.run(own, handle, shown, given) : handle(shown, given);
        if (result && typeof result.then === 'function') result.then(undefined, failed); // what it resolves to is no answer
      } catch (err) {
        failed(err);
      }
    });
  };
};

// What handlers get.

class Context {
  constructor() {
    this.userData = {};
    this.workerId = this.worker_id = settings.told.INDEX || '0';
    this.logger = new Logger();
    this.Response = NuclioResponse;
  }

  callback() { console.error('there is no event to answer'); }
}

class NuclioResponse {
  constructor(body = null, headers = null, contentType = 'text/plain', statusCode = 200, bodyEncoding = 'text') {
    this.body = body;
    this.headers = headers;
    this.content_type = contentType;
    this.status_code = statusCode;
    this.body_encoding = bodyEncoding;
    if (typeof body !== 'string') {
      this.body = JSON.stringify(body);
      this.content_type = 'application/json';
    }
  }
}

class Logger {
  #say(level, message, fields) {
    const text = typeof message === 'string' ? message : String(message);
    const told = settings.told, facts = { worker_id: told.INDEX || '0', ...fields };
    const own = events ? events.getStore() : event;
    if (own && own.lines && level >= own.least) {
      own.lines.push({ level: LEVELS[level], time: Date.now(), name: own.trigger, message: text, ...facts });
    }
    const pairs = ['logger', `processor.${told.NUCLIO_TRIGGER_KIND || 'shared'}.w${told.INDEX || '0'}.nodejs.logger`];
    for (const [name, value] of Object.entries(facts)) pairs.push(name, (jsonOf(value) ?? 'null').slice(0, 16 << 10));
    const line = say(LOG, level, own ? own.number : 0, pairs, Buffer.from(text).subarray(0, MOST_LOG));
    if (out) send(line);
    else sendNow(line);
  }

  debug(message, fields) { this.#say(0, message, fields); }
  info(message, fields) { this.#say(1, message, fields); }
  warn(message, fields) { this.#say(2, message, fields); }
  error(message, fields) { this.#say(3, message, fields); }
  debugWith(message, fields) { this.#say(0, message, fields); }
  infoWith(message, fields) { this.#say(1, message, fields); }
  warnWith(message, fields) { this.#say(2, message, fields); }
  errorWith(message, fields) { this.#say(3, message, fields); }
}

function jsonOf(value) {
  try {
    return JSON.stringify(value);
  } catch (err) {
    return JSON.stringify(String(value));
  }
}

function withLines(answer, lines, context) {
  const text = jsonOf(lines).replace(/[^\0-~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (text.length >= MOST_FIELD) context.logger.warn('Logs are too long for a field of the answer');
  else answer.headers.push(['x-nuclio-logs', text]);
}

// eventOf makes the event of a request.
function eventOf(req) {
  const [kind, name] = req.scheme.includes('/') ? req.scheme.split('/') : ['http', 'http'];
  if (kind === 'message') { // of a broker: what is known of it comes as JSON in a field, its body as it is
    const facts = JSON.parse(req.headers['fnpod-event']);
    return { ...facts, body: req.body, timestamp: new Date(facts.timestamp * 1000) };
  }
  const all = req.headersAll, headers = {};
  for (const key of Object.keys(all)) {
    const canonical = key.split('-').map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('-');
    headers[canonical] = wire(key === 'cookie' ? all[key].join('; ') : all[key].at(-1));
  }
  const type = headers['Content-Type'] || '';
  const made = {
    body: req.body, 'content-type': type, content_type: type, trigger: { kind, name }, fields: fieldsOf(req.query), headers,
    id: require('crypto').randomUUID(), method: req.method, path: pathOf(req.path), size: req.body.length, url: '', shard_id: -1, num_shards: 0,
    offset: 0, type: '', type_version: '', version: '', topic: '',
    timestamp: new Date(kind === 'cron' ? 0 : Math.floor(Date.now() / 1000) * 1000),
  };
  if (type.startsWith('application/cloudevents')) structured(made);
  else if (headers['Ce-Cloudeventsversion']) binary(made, headers);
  return made;
}

// wire is text that came as bytes in Latin-1.
function wire(text) { return /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString() : text; }

function unescaped(text) {
  if (!text.includes('%')) return wire(text);
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString();
}

function fieldsOf(query) {
  const fields = {};
  for (const pair of query.split('&')) {
    if (!pair) continue;
    const at = pair.includes('=') ? pair.indexOf('=') : pair.length;
    fields[unescaped(pair.slice(0, at).replaceAll('+', ' '))] = unescaped(pair.slice(at + 1).replaceAll('+', ' '));
  }
  return fields;
}

function pathOf(path) {
  const kept = [], parts = unescaped(path).split('/');
  for (const part of parts) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return `/${kept.join('/')}${kept.length && ['', '.', '..'].includes(parts.at(-1)) ? '/' : ''}`;
}

// structured takes a cloud event of draft 0.1 out of the body.
function structured(made) {
  const facts = JSON.parse(made.body.toString());
  if (facts === null || typeof facts !== 'object' || Array.isArray(facts)) throw new SyntaxError('no object');
  const source = facts.source || '', data = facts.data, type = facts.contentType || '';
  Object.assign(made, {
    id: facts.eventID || '', trigger: { kind: source, name: source }, timestamp: momentOf(facts.eventTime), content_type: type, 'content-type': type,
    type: facts.eventType || '', type_version: facts.eventTypeVersion || '', version: facts.cloudEventsVersion || '', headers: facts.extensions || {},
    body: typeof data === 'string' ? Buffer.from(data) : data, size: typeof data === 'string' ? Buffer.byteLength(data) : 0,
  });
}

// binary takes what a cloud event of draft 0.1 has in its header.
function binary(made, headers) {
  Object.assign(made, {
    id: headers['Ce-Eventid'] || '', trigger: { kind: headers['Ce-Source'] || '', name: headers['Ce-Name'] || '' },
    timestamp: momentOf(headers['Ce-Eventtime']), type: headers['Ce-Eventtype'] || '', type_version: headers['Ce-Eventtypeversion'] || '',
    version: headers['Ce-Cloudeventsversion'],
  });
}

function momentOf(text) {
  const at = new Date(text ? Math.floor(Date.parse(text) / 1000) * 1000 : 0);
  if (Number.isNaN(at.getTime())) throw new SyntaxError(`no time: ${text}`);
  return at;
}

// answerOf returns what can be sent of whatever a handler gave to its callback.
function answerOf(value) {
  let status = 200;
  if (Array.isArray(value) && value.length === 2 && typeof value[0] === 'number') [status, value] = value;
  let type = 'text/plain', body = value, headers = [];
  if (value instanceof NuclioResponse) {
    ({ body, content_type: type } = value);
    status = value.status_code || 200;
    headers = headersOf(value.headers);
    if (value.body_encoding === 'base64') body = Buffer.from(String(body), 'base64');
    else if (value.body_encoding !== 'text') throw new Error(`Unknown body encoding - "${value.body_encoding}"`);
    if (type) headers = headers.filter(([name]) => name !== 'content-type');
  } else if (typeof value !== 'string' && !Buffer.isBuffer(value)) {
    type = 'application/json';
    body = JSON.stringify(value);
  }
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new Error(`status ${status} cannot be sent: there are 200 to 599`);
  if (type) headers.push(['content-type', clean(String(type))]);
  return { status, headers, body: body ?? '' };
}

function headersOf(headers) {
  return Object.entries(headers || {})
    .map(([name, value]) => [name.toLowerCase(), value])
    .filter(([name, value]) => typeof value === 'string' && /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name) && !UNSENT.test(name))
    .map(([name, value]) => [name, clean(value)]);
}

// clean returns a value without line breaks and other control characters, as bytes in Latin-1.
function clean(value) { return Buffer.from(value.replace(/[\0-\x08\x0a-\x1f\x7f]/g, ' ').trim()).latin1Slice(); }
