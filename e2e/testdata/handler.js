module.exports = async (req) => {
  if (req.path === '/raise') throw new Error('the secret reason');
  if (req.method === 'POST') return { bytes: req.body.length };
  if (req.path === '/stream') return (async function* () { yield 'a'; yield 'b'; })();
  return 'hello from node';
};
