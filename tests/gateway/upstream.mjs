// A DevTools server made of the ws package: discovery, and one WebSocket that answers every command with {}.
import http from 'node:http';
import { createRequire } from 'node:module';

const { WebSocketServer } = createRequire(new URL('../e2e/package.json', import.meta.url))('ws');

export class Upstream {
  static async start() {
    const u = new Upstream();
    u.server = http.createServer((q, r) => r.end(JSON.stringify({ Browser: 'test', webSocketDebuggerUrl: 'ws://127.0.0.1:9222/devtools/browser/test' })));
    u.wss = new WebSocketServer({ server: u.server, perMessageDeflate: false });
    u.seen = [];
    u.wss.on('connection', (ws) => {
      ws.on('error', () => {});
      ws.on('message', (m) => { const o = JSON.parse(m); u.seen.push(o); if (!u.mute) ws.send(JSON.stringify({ id: o.id, result: {} })); });
    });
    await new Promise((r) => u.server.listen(0, '127.0.0.1', r));
    u.port = u.server.address().port;
    return u;
  }

  get open() { return this.wss.clients.size; }

  stop() { for (const c of this.wss.clients) c.terminate(); this.server.close(); this.server.closeAllConnections(); }
}
