'use strict';
// What the Node templates of OpenFaaS put in front of a handler: Express and body-parser. Written to the contract.
const express = require('express');
const parser = require('body-parser');
const handler = require('./function/handler');

const app = express();
app.disable('x-powered-by');
app.use((req, res, next) => {
  if (!req.headers['content-type']) req.headers['content-type'] = 'text/plain';
  next();
});
if (process.env.RAW_BODY === 'true') {
  app.use(parser.raw({ type: '*/*', limit: process.env.MAX_RAW_SIZE || '100kb' }));
} else {
  app.use(parser.text({ type: 'text/*' }), parser.json({ limit: process.env.MAX_JSON_SIZE || '100kb' }), parser.urlencoded({ extended: true }));
}

const plain = (value) => Boolean(value) && (value.constructor === Array || value.constructor === Object);

app.all('/*', (req, res) => {
  let code = 200, headers = {}, called = false;
  const done = (err, value) => {
    if (err) {
      console.error(err);
      res.status(code).send(err.toString ? err.toString() : err);
      return;
    }
    res.set(headers).status(code).send(plain(value) ? JSON.stringify(value) : value);
  };
  const context = {
    status(n) {
      if (!n) return code;
      code = n;
      return context;
    },
    headers(h) {
      if (!h) return headers;
      headers = h;
      return context;
    },
    succeed(value) {
      called = true;
      done(undefined, value);
    },
    fail(value) {
      if (code === 200) code = 500;
      called = true;
      done(value);
    },
  };
  const event = { body: req.body, headers: req.headers, method: req.method, query: req.query, path: req.path };
  Promise.resolve(handler(event, context, done)).then((value) => called || context.succeed(value)).catch((err) => done(err));
});
app.listen(Number(process.argv[2]), '127.0.0.1');
