// Ways to fail, by path.
const { execFileSync } = require('child_process');
const fs = require('fs');

exports.handle = (req) => {
  switch (req.path) {
    case '/raise': throw new Error('the secret reason');
    case '/exit': process.exit(3); break;
    case '/_exit': process.reallyExit(3); break;
    case '/bomb': execFileSync('sh', ['bomb.sh']); break;
    case '/segv': process.kill(process.pid, 'SIGSEGV'); for (;;); break;
    case '/kill': process.kill(process.pid, 'SIGKILL'); for (;;); break;
    case '/loop': for (;;); break;
    case '/stdout': fs.closeSync(1); break;
    case '/garbage': fs.writeSync(4, 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'); break;
    case '/log': fs.writeSync(1, 'x'.repeat(1000000) + '\n'); break;
    case '/hog': {
      execFileSync('prlimit', ['--pid', String(process.pid), '--data=400000000']);
      const all = [];
      for (;;) all.push(Buffer.alloc(10000000, 1));
    }
  }
  return 'hello';
};
