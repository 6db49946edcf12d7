'use strict';
// What the classic Node template of OpenFaaS starts for each request. Written to the contract.
const handler = require('./function/handler');

const plain = (value) => Boolean(value) && (value.constructor === Array || value.constructor === Object);

const done = (err, value) => {
  if (err) console.error(err);
  else if (plain(value)) console.log(JSON.stringify(value));
  else if (value) process.stdout.write(value);
};

(async () => {
  const parts = [];
  for await (const part of process.stdin) parts.push(part);
  const result = handler(Buffer.concat(parts).toString(), done);
  if (result instanceof Promise) done(undefined, await result);
})().catch((err) => console.error(err));
