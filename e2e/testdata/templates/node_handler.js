'use strict';
// A handler of the Node templates that has an answer of every kind; the path says which.
class Own {
  constructor() { this.a = 1; }
}

const skip = ['connection', 'transfer-encoding', 'content-length', 'accept-encoding', 'host', 'x-request-id']; // of the way here
const seen = (event) => {
  const headers = Object.fromEntries(Object.entries(event.headers).filter(([name]) => !skip.includes(name)).sort());
  const { body } = event;
  return {
    method: event.method, path: event.path, query: event.query, headers, own: event.headers.hasOwnProperty('host'), type: typeof body,
    body: Buffer.isBuffer(body) ? body.toString('latin1') : body, buffer: Buffer.isBuffer(body),
  };
};

const answers = {
  '/undefined': () => undefined, '/null': () => null, '/empty': () => '', '/text': () => 'grüß', '/array': () => [1, 'a', null], '/object': () => ({ b: 1, a: 'ü' }),
  '/answer': () => ({ statusCode: 404, body: 'x' }), '/native': () => ({ status: 404, headers: {}, body: 'x' }), '/buffer': () => Buffer.from([0, 255]),
  '/true': () => true, '/false': () => false, '/404': () => 404, '/date': () => new Date(0), '/own': () => new Own(), '/map': () => new Map([[1, 2]]),
  '/bare': () => Object.assign(Object.create(null), { a: 1 }), '/bytes': () => new Uint8Array([1, 2]),
  '/reject': () => { throw new Error('the text'); }, '/reject-text': () => Promise.reject('only text'), '/reject-object': () => Promise.reject({ a: 1 }), // eslint-disable-line prefer-promise-reject-errors
  '/reject-nothing': () => Promise.reject(), // eslint-disable-line prefer-promise-reject-errors
  '/reject-status': (e, c) => { c.status(418); throw new TypeError('teapot'); },
  '/status': (e, c) => c.status(201).succeed('made'), '/status-text': (e, c) => c.status('202').succeed('text'), '/status-back': (e, c) => String(c.status()),
  '/status-return': (e, c) => { c.status(203); return 'returned'; }, '/204': (e, c) => { c.status(204).headers({ 'X-A': 'b' }); return 'gone'; },
  '/headers': (e, c) => c.headers({ 'Content-Type': 'text/csv', 'X-A': 'b', 'X-N': 5 }).succeed('a,b'), '/headers-back': (e, c) => c.headers({ a: 'b' }).headers(),
  '/json-type': (e, c) => c.headers({ 'Content-Type': 'application/json' }).succeed({ a: 1 }), '/svg': (e, c) => c.headers({ 'content-type': 'image/svg+xml' }).succeed('<svg/>'),
  '/latin': (e, c) => c.headers({ 'content-type': 'text/plain; charset=iso-8859-1' }).succeed('ü'), '/png': (e, c) => c.headers({ 'content-type': 'image/png' }).succeed(Buffer.from([1])),
  '/cookies': (e, c) => c.headers({ 'Set-Cookie': ['a=1', 'b=2'] }).succeed('c'), '/redirect': (e, c) => c.status(302).headers({ Location: '/there' }).succeed(''),
  '/fail': (e, c) => c.fail('failed'), '/fail-error': (e, c) => c.fail(new Error('failed')), '/fail-status': (e, c) => c.status(404).fail('none'), '/fail-nothing': (e, c) => c.fail(),
  '/fail-headers': (e, c) => c.headers({ 'X-A': 'b' }).fail('failed'), '/fail-object': (e, c) => c.fail({ a: 1 }),
  '/succeed-later': (e, c) => new Promise((resolve) => setTimeout(() => { c.succeed('later'); resolve('never seen'); }, 10)),
  '/callback': (e, c, done) => new Promise(() => done(undefined, { called: 'back' })), '/callback-error': (e, c, done) => new Promise(() => done(new Error('called back'))),
};

module.exports = async (event, context, callback) => (answers[event.path] || seen)(event, context, callback);
