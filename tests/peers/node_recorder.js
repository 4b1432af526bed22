// A recording upstream on Node's HTTP parser: a JSON line on stdout for each request that it parsed. `node … STATUS`: how it answers an upgrade. It listens on a free port of
// 127.0.0.1, says which, and ends when its stdin does.
'use strict';
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');

const status = Number(process.argv.at(-1));
const say = (fact) => process.stdout.write(JSON.stringify(fact) + '\n');

let count = 0;

// Told as soon as the head is parsed, and again with the length of its body: one whose body never
// ends counts as well.
const server = createServer((request, response) => {
  const id = count++;
  let body = 0;
  say({ ...describe(request), id, upgrade: false });
  request.on('data', (chunk) => { body += chunk.length; });
  request.on('end', () => {
    say({ id, body });
    response.end('recorded');
  });
});

// Node hands over what came behind the head; an accepted upgrade has a stream there, which is
// echoed, and a refused one is kept open: a second request in it is parsed, if anything does.
server.on('upgrade', (request, socket, head) => {
  say({ ...describe(request), id: count++, upgrade: true, body: head.length });
  socket.on('error', () => socket.destroy());
  if (status === 101) {
    const accept = createHash('sha1')
      .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
      .digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n'
      + `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
    return;
  }
  // As an upstream behaves that goes on reading requests: the bytes go back to the parser.
  socket.write(`HTTP/1.1 ${status} Refused\r\nContent-Length: 0\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
  server.emit('connection', socket);
});

server.on('clientError', (error, socket) => {
  say({ error: error.code });
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    // As Node does by default: the unread bytes turn this into a reset.
    socket.write('HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n');
    socket.destroy();
    return;
  }
  socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
});

function describe(request) {
  return {
    method: request.method,
    url: request.url,
    version: request.httpVersion,
    headers: request.rawHeaders,
  };
}

process.stdin.on('end', () => process.exit(0)).resume();
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
