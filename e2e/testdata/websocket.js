// Talks to an echo over the WebSocket that node has built in; "ok" means that all came back.
const sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20];
const socket = new WebSocket(process.argv[2]);
socket.binaryType = "arraybuffer";
const fail = (why) => { console.log("failed: " + why); process.exit(1); };
const send = () => socket.send(new Uint8Array(sizes[0]).fill(sizes.length));
socket.onerror = (e) => fail(e.message || e.error);
socket.onopen = send;
socket.onmessage = (e) => {
  const bytes = new Uint8Array(e.data);
  if (bytes.length !== sizes[0] || !bytes.every((b) => b === sizes.length)) fail("message of " + sizes[0]);
  sizes.shift();
  if (sizes.length > 0) send(); else socket.close(4321, "done");
};
socket.onclose = (e) => {
  if (sizes.length > 0 || e.code !== 4321) fail("closed with " + e.code);
  console.log("ok");
};
