// What the command line's tests share: running berth, a gateway that says what a test wants, tars by hand.
import { spawn } from 'node:child_process';
import http from 'node:http';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export const berthPath = path.join(process.env.BERTH_PREFIX ?? '/usr/local', 'bin/berth');

export function scratch(t) {
	const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-cli-'));
	t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
	return dir;
}

// Runs berth to its end: { status, signal, out, err }. out is a Buffer when binary is asked for.
export function berth(args, { env = {}, input, cwd, binary = false, onStart } = {}) {
	return new Promise((resolve, reject) => {
		const clean = { ...process.env };
		for (const name of ['BERTH_URL', 'BERTH_TOKEN', 'BERTH_STATE'])
			delete clean[name];
		const child = spawn(berthPath, args, { env: { ...clean, BERTH_STATE: '/nonexistent/berth', ...env }, cwd });
		const out = [], err = [];
		child.stdout.on('data', (d) => out.push(d));
		child.stderr.on('data', (d) => err.push(d));
		child.stdin.on('error', () => {});
		child.on('error', reject);
		child.on('close', (status, signal) => resolve({
			status, signal, out: binary ? Buffer.concat(out) : Buffer.concat(out).toString(),
			err: Buffer.concat(err).toString(),
		}));
		onStart?.(child);
		if (input !== null)
			child.stdin.end(input ?? '');
	});
}

// A gateway on loopback: handler(req, res, body). Gives its URL.
export async function gateway(t, handler) {
	const server = http.createServer((req, res) => {
		const body = [];
		req.on('data', (d) => body.push(d));
		req.on('end', () => handler(req, res, Buffer.concat(body)));
	});
	await new Promise((done) => server.listen(0, '127.0.0.1', done));
	t.after(() => {
		server.closeAllConnections();
		server.close();
	});
	return { url: `http://127.0.0.1:${server.address().port}`, server };
}

export function json(res, status, value) {
	res.writeHead(status, { 'Content-Type': status < 300 ? 'application/json' : 'application/problem+json' });
	res.end(JSON.stringify(value));
}

function field(header, at, length, text) {
	header.write(text.slice(0, length), at, 'latin1');
}

// One entry of a POSIX tar, checksum right, everything else as the test wants it.
export function entry({ name, type = '0', data = '', link = '', mode = 0o644, size }) {
	const body = Buffer.from(data), header = Buffer.alloc(512);
	field(header, 0, 100, name);
	field(header, 100, 8, mode.toString(8).padStart(7, '0'));
	field(header, 108, 8, '0000000');
	field(header, 116, 8, '0000000');
	field(header, 124, 12, (size ?? body.length).toString(8).padStart(11, '0'));
	field(header, 136, 12, '14735102600');
	header.fill(' ', 148, 156);
	field(header, 156, 1, type);
	field(header, 157, 100, link);
	field(header, 257, 8, 'ustar\x0000');
	const sum = header.reduce((a, b) => a + b, 0);
	field(header, 148, 8, sum.toString(8).padStart(6, '0') + '\0 ');
	return Buffer.concat([header, body, Buffer.alloc((512 - body.length % 512) % 512)]);
}

export function tar(...entries) {
	return Buffer.concat([...entries.map(entry), Buffer.alloc(1024)]);
}
