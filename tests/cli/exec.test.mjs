// berth exec against a gateway that speaks the exec protocol by hand: fragments, pings, large and hostile frames.
import test from 'node:test';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { berth, berthPath, gateway, json } from './lib.mjs';

const frame = (op, data, fin = true) => {
	const body = Buffer.from(data);
	const head = body.length < 126 ? Buffer.from([0, body.length]) : body.length < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
	if (head.length === 4)
		head[1] = 126, head.writeUInt16BE(body.length, 2);
	if (head.length === 10)
		head[1] = 127, head.writeBigUInt64BE(BigInt(body.length), 2);
	head[0] = (fin ? 0x80 : 0) | op;
	return Buffer.concat([head, body]);
};
const out = (channel, data, fin) => frame(2, Buffer.concat([Buffer.from([channel]), Buffer.from(data)]), fin);
const end = (status, signal = 0) => frame(1, JSON.stringify({ exit_status: status, signal }));
const close = () => frame(8, Buffer.from([0x03, 0xe8]));

// Takes whole frames of a client off the front of bytes: [op, payload], unmasked.
function* frames(state) {
	for (;;) {
		const b = state.bytes;
		if (b.length < 2)
			return;
		let n = b[1] & 127, at = 2;
		assert.ok(b[1] & 128, 'a client masks');
		if (n === 126)
			n = b.readUInt16BE(2), at = 4;
		else if (n === 127)
			n = Number(b.readBigUInt64BE(2)), at = 10;
		if (b.length < at + 4 + n)
			return;
		const mask = b.subarray(at, at + 4), data = Buffer.from(b.subarray(at + 4, at + 4 + n));
		for (let i = 0; i < n; i++)
			data[i] ^= mask[i & 3];
		state.bytes = b.subarray(at + 4 + n);
		yield [b[0] & 15, data];
	}
}

// A gateway whose exec is run(peer): peer.hello (a promise), peer.on(op, data), peer.write, peer.socket.
async function execGateway(t, run) {
	const { url, server } = await gateway(t, (req, res) => json(res, 404, { status: 404, detail: 'no' }));
	server.on('upgrade', (req, socket, head) => {
		const accept = crypto.createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
			.digest('base64');
		socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
			`Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: berth.exec.v1\r\n\r\n`);
		socket.on('error', () => {});
		t.after(() => socket.destroy());
		const state = { bytes: head };
		let hello;
		const peer = { req, socket, write: (d) => socket.write(d), hello: new Promise((r) => { hello = r; }), on: () => {} };
		socket.on('data', (d) => {
			state.bytes = Buffer.concat([state.bytes, d]);
			for (const [op, data] of frames(state)) {
				if (op === 1)
					hello(JSON.parse(data));
				else
					peer.on(op, data);
			}
		});
		run(peer);
	});
	return url;
}

test('what is asked for, and what comes back', async (t) => {
	let seen, input = [];
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => input.push([op, data.toString('latin1')]);
		seen = await peer.hello;
		assert.equal(peer.req.url, '/base/v1/agents/demo/exec');
		assert.equal(peer.req.headers.authorization, 'Bearer secret');
		assert.equal(peer.req.headers['sec-websocket-protocol'], 'berth.exec.v1');
		await sleep(100);
		peer.write(Buffer.concat([out(1, 'to out\n'), out(2, 'to err\n'), end(7), close()]));
	});
	const r = await berth(['exec', 'demo', '-e', 'A=1', '--env', 'B=x=y', '-u', 'root', '--cwd', '/tmp', '--', 'sh', '-c', 'x  y', ''],
		{ env: { BERTH_URL: url + '/base/', BERTH_TOKEN: 'secret' } });
	assert.deepEqual(r, { status: 7, signal: null, out: 'to out\n', err: 'to err\n' });
	assert.deepEqual(seen, { cmd: ['sh', '-c', 'x  y', ''], env: { A: '1', B: 'x=y' }, cwd: '/tmp', user: 'root' });
	assert.deepEqual(input.filter(([op]) => op === 2), [[2, '\0']], 'the end of the input at once');
});

test('options behind the command are the command\'s', async (t) => {
	let seen;
	const url = await execGateway(t, async (peer) => {
		seen = await peer.hello;
		peer.write(end(0));
	});
	assert.equal((await berth(['exec', 'demo', 'ls', '-la', '--json', '--', 'x'], { env: { BERTH_URL: url } })).status, 0);
	assert.deepEqual(seen.cmd, ['ls', '-la', '--json', '--', 'x']);
});

test('frames in pieces, pings in between, a byte at a time', async (t) => {
	const ponged = [];
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => op === 10 && ponged.push(data.toString());
		await peer.hello;
		const all = Buffer.concat([frame(2, '\x01one ', false), frame(9, 'ping'), frame(0, 'two ', false), frame(0, ''),
			frame(2, '', false), frame(0, '\x01three\n'), out(1, ''), frame(2, ''), end(0), close()]);
		for (const byte of all) {
			peer.write(Buffer.from([byte]));
			await sleep(1);
		}
	});
	const r = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url } });
	assert.equal(r.out, 'one two three\n');
	assert.equal(r.status, 0);
	assert.deepEqual(ponged, ['ping']);
});

test('ended by a signal', async (t) => {
	const url = await execGateway(t, async (peer) => {
		await peer.hello;
		peer.write(end(0, 9));
	});
	assert.equal((await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url } })).status, 137);
});

test('the standard input arrives whole, with -i', async (t) => {
	const body = crypto.randomBytes(3_000_000), got = [];
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => {
			if (op !== 2)
				return;
			assert.equal(data[0], 0);
			if (data.length > 1)
				return got.push(data.subarray(1));
			peer.write(end(Buffer.concat(got).equals(body) ? 3 : 1));
		};
		// Slow at first: the client must not read all of its input ahead.
		peer.socket.pause();
		await sleep(300);
		peer.socket.resume();
	});
	assert.equal((await berth(['exec', 'demo', '-i', '--', 'cat'], { env: { BERTH_URL: url }, input: body })).status, 3);
});

test('a slow reader of the output holds the guest up, not our memory', async (t) => {
	let sent = 0, stalled = 0;
	const piece = out(1, Buffer.alloc(65536, 'x')), total = 400;
	const url = await execGateway(t, async (peer) => {
		await peer.hello;
		for (; sent < total; sent++) {
			if (!peer.write(piece))
				await new Promise((r) => peer.socket.once('drain', r));
		}
		peer.write(end(0));
	});
	const r = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url }, binary: true, onStart: async (child) => {
		child.stdout.pause();
		await sleep(1500);
		stalled = sent;
		child.stdout.resume();
	} });
	assert.equal(r.status, 0);
	assert.equal(r.out.length, total * 65536);
	assert.ok(stalled < total - 50, `all but ${total - stalled} of ${total} pieces were taken by a reader that read nothing`);
});

test('signals are forwarded; the third one gives up', async (t) => {
	const seen = [];
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => {
			if (op === 2 && data[0] === 3) {
				seen.push(JSON.parse(data.subarray(1)).signal);
				if (seen.at(-1) === 15)
					peer.write(end(0, 15));
			}
		};
		await peer.hello;
		peer.write(out(1, 'ready\n'));
	});
	const once = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url },
		onStart: (child) => child.stdout.once('data', () => child.kill('SIGTERM')) });
	assert.equal(once.status, 143);
	assert.deepEqual(seen, [15]);
	const thrice = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url },
		onStart: (child) => child.stdout.once('data', async () => {
			for (let i = 0; i < 3; i++) {
				child.kill('SIGINT');
				while (i < 2 && seen.length < 2 + i) // two that wait are one
					await sleep(10);
			}
		}) });
	assert.equal(thrice.status, 130);
	assert.deepEqual(seen, [15, 2, 2]);
});

test('a reader that has gone is SIGPIPE for the command', async (t) => {
	let signal;
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => {
			if (op === 2 && data[0] === 3) {
				signal = JSON.parse(data.subarray(1)).signal;
				peer.write(end(0, 13));
			}
		};
		await peer.hello;
		for (let i = 0; i < 3000 && !signal; i++) {
			peer.write(out(1, 'line\n'.repeat(1000)));
			await sleep(20);
		}
	});
	const r = await berth(['exec', 'demo', '--', 'yes'], { env: { BERTH_URL: url }, onStart: (child) =>
		child.stdout.once('data', () => child.stdout.destroy()) });
	assert.equal(signal, 13);
	assert.equal(r.status, 141);
});

test('a terminal: raw, with its size', async (t) => {
	let seen, keys = '';
	const url = await execGateway(t, async (peer) => {
		peer.on = (op, data) => {
			if (op === 2 && data[0] === 0)
				keys += data.subarray(1).toString('latin1');
			if (keys.includes('\x03'))
				peer.write(Buffer.concat([out(1, 'bye\r\n'), end(5)]));
		};
		seen = await peer.hello;
		peer.write(out(1, 'ready\r\n'));
	});
	const script = `
import os, pty, sys, struct, fcntl, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
text = b""
while b"ready" not in text:
    text += os.read(fd, 100)
os.write(fd, b"ab\\x03")
while True:
    try:
        piece = os.read(fd, 100)
    except OSError:
        break
    if not piece:
        break
    text += piece
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text)
`;
	const r = await new Promise((resolve) => {
		execFile('python3', ['-c', script, berthPath, 'exec', 'demo', '-it', '--', 'bash'],
			{ env: { ...process.env, BERTH_URL: url }, timeout: 90000 }, (e, stdout, stderr) => resolve(stdout + stderr));
	});
	assert.deepEqual(seen, { cmd: ['bash'], env: {}, tty: true, rows: 33, columns: 99 });
	assert.equal(keys, 'ab\x03');
	assert.match(r, /^5 b'ready\\r\\nbye/);
});

const failures = {
	'the command could not start': [frame(1, JSON.stringify({ error: { type: 'file-not-found', status: 404, detail: 'there is no nope', hint: 'look' } })),
		/^berth: there is no nope; look\n$/],
	'the connection ends without a result': [close(), /the connection ended before the command did/],
	'a frame that is masked': [Buffer.from([0x82, 0x81, 1, 2, 3, 4, 5]), /broke the WebSocket protocol/],
	'a continuation of nothing': [frame(0, 'x'), /broke the WebSocket protocol/],
	'a message within a message': [Buffer.concat([frame(2, '\x01a', false), frame(2, '\x01b')]), /broke the WebSocket protocol/],
	'reserved bits': [Buffer.from([0xc2, 1, 1]), /broke the WebSocket protocol/],
	'a result that is no JSON': [frame(1, 'exit 0'), /not JSON/],
	'an endless result': [Buffer.concat([frame(1, Buffer.alloc(200000, '{'))]), /not JSON/],
};
for (const [what, [bytes, complaint]] of Object.entries(failures)) {
	test(`failure: ${what}`, async (t) => {
		const url = await execGateway(t, async (peer) => {
			await peer.hello;
			peer.write(bytes);
			if (what.startsWith('the command'))
				peer.socket.end(); // and no close frame
		});
		const r = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url } });
		assert.match(r.err, complaint);
		assert.equal(r.status, 1);
	});
}

test('refused before it began', async (t) => {
	const { url, server } = await gateway(t, () => {});
	server.on('upgrade', (req, socket) => {
		const body = JSON.stringify({ type: 'wrong-state', status: 409, detail: 'demo is stopped', hint: 'berth start demo' });
		socket.end(`HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
	});
	const r = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url } });
	assert.equal(r.err, 'berth: demo is stopped; berth start demo\n');
	assert.equal(r.status, 1);
});

test('a server that is none', async (t) => {
	const { url, server } = await gateway(t, () => {});
	server.on('upgrade', (req, socket) => socket.end('SSH-2.0-OpenSSH_9\r\n\r\n'));
	const r = await berth(['exec', 'demo', '--', 'x'], { env: { BERTH_URL: url } });
	assert.match(r.err, /not HTTP/);
	assert.equal(r.status, 1);
});
