// An example function: greets, reads JSON, tells what was uploaded, and streams.
const { createHash } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

module.exports = async function handle(req) {
  if (req.path === '/stream') return stream(5);
  if (req.method === 'POST' && (req.headers['content-type'] || '').includes('json')) {
    return { hello: req.json().name || 'world' };
  }
  if (req.method === 'POST' || req.method === 'PUT') {
    return { bytes: req.body.length, sha256: createHash('sha256').update(req.body).digest('hex') };
  }
  return `hello ${req.args.get('name') || 'world'}\n`;
};

// Each item reaches the client when it is yielded.
async function* stream(count) {
  for (let i = 0; i < count; i++) {
    yield `part ${i}\n`;
    await sleep(200);
  }
}
