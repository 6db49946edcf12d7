'use strict';
// A handler of the classic Node template; its text says what it does.
module.exports = (text, callback) => {
  const skip = ['Http_Host', 'Http_Accept_Encoding', 'Http_X_Request_Id'];
  switch (text) {
    case 'env': return callback(null, Object.entries(process.env).filter(([k]) => k.startsWith('Http_') && !skip.includes(k)).sort());
    case 'print': console.log('printed'); return callback(undefined, 'called');
    case 'none': return callback();
    case 'object': return callback(null, { a: [1, 'ü'] });
    case 'number': return callback(null, 5);
    case 'error': return callback(new Error('failed'));
    case 'throw': process.stdout.write('so far'); throw new Error('thrown');
    case 'promise': return new Promise((go) => setTimeout(go, 5, ['promised']));
    case 'reject': return Promise.reject(new Error('rejected'));
    case 'later': return void setTimeout(callback, 5, null, 'later');
    case 'set': process.env.Http_Own = 'x'; process.chdir('/'); return callback(null, 'set');
    case 'html': return callback(null, '<html>');
    default: return callback(null, text.toUpperCase());
  }
};
