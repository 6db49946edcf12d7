// Writes the id of every request into a ledger and answers with the body and the id; see ledger_test.go.
const fs = require('fs');

const ledger = fs.openSync(process.env.LEDGER, fs.constants.O_WRONLY | fs.constants.O_APPEND);
const noise = fs.readFileSync(process.env.NOISE);

function payload(number, size) {
  const start = Number(number) % 4096;
  return noise.subarray(start, start + size);
}

async function* pieces(body) {
  for (let i = 0; i < body.length; i += 10000) yield body.subarray(i, i + 10000);
}

module.exports = async (req) => {
  const number = req.headers['x-id'];
  let body = req.body;
  const good = payload(number, Number(req.headers['x-size'] || 0)).equals(body);
  fs.writeSync(ledger, number + (good ? ' good\n' : ` wrong ${body.length}\n`));
  if (req.query) {
    const sleep = req.args.get('sleep');
    const size = req.args.get('size');
    if (sleep) await new Promise((done) => setTimeout(done, sleep * 1000));
    if (size) body = payload(number, Number(size));
  }
  if (req.path === '/stream') body = pieces(body);
  return { status: 200, headers: { 'x-id': number }, body };
};
