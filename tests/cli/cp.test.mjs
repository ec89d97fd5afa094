// Copies from a guest that lies: tars that try to leave the destination, streams that break off, endless ones.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { berth, entry, gateway, json, scratch, tar } from './lib.mjs';

const folder = { type: 'wrong-state', status: 409, detail: 'it is a folder' };

// A gateway whose agent has one folder, sent as this tar.
async function sends(t, bytes, end = (res) => res.end()) {
	const { url } = await gateway(t, (req, res) => {
		if (!req.url.includes('format=tar'))
			return json(res, 409, folder);
		res.writeHead(200, { 'Content-Type': 'application/x-tar' });
		res.write(bytes);
		end(res);
	});
	return url;
}

// Unpacks a tar into a fresh folder "to" beside a file that must survive; gives what berth said, and the folder.
async function unpack(t, bytes, { args = [], prepare, end } = {}) {
	const dir = scratch(t), to = path.join(dir, 'to');
	fs.writeFileSync(path.join(dir, 'precious'), 'mine');
	prepare?.(dir, to);
	const url = await sends(t, bytes, end);
	const r = await berth(['cp', 'x:/home/agent/stuff', to, '--url', url, ...args]);
	assert.equal(fs.readFileSync(path.join(dir, 'precious'), 'utf8'), 'mine');
	assert.deepEqual(fs.readdirSync(dir).filter((n) => n !== 'to' && n !== 'precious' && n !== 'mine'), []);
	return { ...r, dir, to };
}

const tree = (dir) => execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P %y\n'], { cwd: dir }).toString()
	.trim().split('\n').filter(Boolean).sort();

test('an honest folder arrives whole', async (t) => {
	const long = 'n'.repeat(90);
	const { status, err, to } = await unpack(t, tar({ name: './', type: '5', mode: 0o755 },
		{ name: './sub/', type: '5', mode: 0o755 }, { name: './sub/a.txt', data: 'hello', mode: 0o755 },
		{ name: `./${long}`, data: Buffer.alloc(200000, 7) }, { name: './empty' },
		{ name: './link', type: '2', link: 'sub/a.txt' }, { name: './sub/up', type: '2', link: '../empty' },
		{ name: './again', type: '1', link: './sub/a.txt' }));
	assert.equal(status, 0, err);
	assert.deepEqual(tree(to), ['again f', 'empty f', 'link l', `${long} f`, 'sub d', 'sub/a.txt f', 'sub/up l']);
	assert.equal(fs.readFileSync(path.join(to, 'link'), 'utf8'), 'hello');
	assert.equal(fs.readFileSync(path.join(to, 'again'), 'utf8'), 'hello');
	assert.equal(fs.statSync(path.join(to, long)).size, 200000);
	assert.ok(fs.statSync(path.join(to, 'sub/a.txt')).mode & 0o100);
	assert.equal(fs.statSync(path.join(to, 'empty')).mtime.toISOString(), '2025-01-01T00:00:00.000Z');
});

const leaving = {
	'an absolute name': [{ name: '/tmp/berth-evil', data: 'x' }],
	'a name with ..': [{ name: '../precious', data: 'x' }],
	'a name with .. later': [{ name: 'a/', type: '5' }, { name: 'a/b/../../../precious', data: 'x' }],
	'a folder with ..': [{ name: 'a/../../evil/', type: '5' }],
	'a hard link from outside': [{ name: 'in', type: '1', link: '../precious' }],
	'a hard link from an absolute name': [{ name: 'in', type: '1', link: '/etc/passwd' }],
	'a symlink with a name outside': [{ name: '../evil', type: '2', link: 'x' }],
	'a file below a link': [{ name: 'd/', type: '5' }, { name: 'l', type: '2', link: 'd' }, { name: 'l/f', data: 'x' }],
	'a folder on a link': [{ name: 'd/', type: '5' }, { name: 'l', type: '2', link: 'd' }, { name: 'l/', type: '5' }],
	'a very deep name': [{ name: 'a/'.repeat(49), type: '5' }, ...deep(300)],
};
// A name deeper than a header holds, as a GNU long name.
function deep(n) {
	const name = 'd/'.repeat(n) + 'f';
	return [{ name: '././@LongLink', type: 'L', data: name + '\0' }, { name: 'short', data: 'x' }];
}
for (const [what, entries] of Object.entries(leaving)) {
	test(`refused: ${what}`, async (t) => {
		const { status, err } = await unpack(t, tar({ name: 'first', data: '1' }, ...entries));
		assert.equal(status, 1, err);
		assert.match(err, /^berth: the agent sent '.*; nothing outside the destination was touched.*\n$/);
		assert.ok(!fs.existsSync('/tmp/berth-evil'));
	});
}

const leftOut = {
	'a device': [{ name: 'dev', type: '3' }],
	'a block device': [{ name: 'dev', type: '4' }],
	'a pipe': [{ name: 'pipe', type: '6' }],
	'an absolute link': [{ name: 'l', type: '2', link: '/etc' }],
	'a link to above': [{ name: 'l', type: '2', link: '..' }],
	'a link to above from below': [{ name: 'd/l', type: '2', link: '../../x' }],
	'a link that goes down and up': [{ name: 'l', type: '2', link: 'a/../../x' }],
	'a link to above through a link': [{ name: 'here', type: '2', link: '.' }, { name: 'l', type: '2', link: 'here/../..' }],
	'an empty link': [{ name: 'l', type: '2', link: '' }],
	'a hard link to nothing': [{ name: 'l', type: '1', link: 'missing' }],
	'a hard link to a link': [{ name: 's', type: '2', link: 'first' }, { name: 'l', type: '1', link: 's' }],
};
for (const [what, entries] of Object.entries(leftOut)) {
	test(`left out: ${what}`, async (t) => {
		const { status, err, to } = await unpack(t, tar({ name: 'first', data: '1' }, ...entries, { name: 'last', data: '2' }));
		assert.equal(status, 0, err);
		assert.match(err, /left out /);
		const bad = entries.at(-1).name;
		assert.throws(() => fs.lstatSync(path.join(to, bad)));
		assert.equal(fs.readFileSync(path.join(to, 'last'), 'utf8'), '2');
	});
}

test('a link that was there already is replaced, not followed', async (t) => {
	const { status, dir, to } = await unpack(t, tar({ name: 'f', data: 'guest' }), {
		prepare: (d, target) => {
			fs.mkdirSync(path.join(target, 'stuff'), { recursive: true });
			fs.symlinkSync(path.join(d, 'precious'), path.join(target, 'stuff/f'));
		} });
	assert.equal(status, 0);
	assert.equal(fs.readFileSync(path.join(to, 'stuff/f'), 'utf8'), 'guest');
	assert.equal(fs.readFileSync(path.join(dir, 'precious'), 'utf8'), 'mine');
});

test('a folder that is a link here is not entered', async (t) => {
	const { status, err, dir } = await unpack(t, tar({ name: 'd/f', data: 'guest' }), {
		prepare: (d, target) => {
			fs.mkdirSync(path.join(d, 'mine'));
			fs.mkdirSync(path.join(target, 'stuff'), { recursive: true });
			fs.symlinkSync(path.join(d, 'mine'), path.join(target, 'stuff/d'));
		} });
	assert.equal(status, 1, err);
	assert.deepEqual(fs.readdirSync(path.join(dir, 'mine')), []);
});

test('a file is not put in the place of a folder', async (t) => {
	const { status, err, to } = await unpack(t, tar({ name: 'd', data: 'guest' }), {
		prepare: (_d, target) => fs.mkdirSync(path.join(target, 'stuff/d/e'), { recursive: true }) });
	assert.equal(status, 1);
	assert.match(err, /is a folder here/);
	assert.ok(fs.statSync(path.join(to, 'stuff/d/e')).isDirectory());
});

test('set-id bits and owners are ignored', async (t) => {
	const { to } = await unpack(t, tar({ name: 'f', data: '1', mode: 0o6777 }, { name: 'd/', type: '5', mode: 0o7777 }));
	assert.equal(fs.statSync(path.join(to, 'f')).mode & 0o7000, 0);
	assert.equal(fs.statSync(path.join(to, 'd')).mode & 0o7000, 0);
	assert.equal(fs.statSync(path.join(to, 'f')).uid, process.getuid());
});

test('limits: bytes', async (t) => {
	const two = tar({ name: 'a', data: Buffer.alloc(600) }, { name: 'b', data: Buffer.alloc(600) });
	const over = await unpack(t, two, { args: ['--max-size', '1K'] });
	assert.equal(over.status, 1);
	assert.match(over.err, /over its limit of bytes; raise it with --max-size/);
	const fits = await unpack(t, two, { args: ['--max-size', '2K'] });
	assert.equal(fits.status, 0);
});

test('limits: entries', async (t) => {
	const many = tar(...Array.from({ length: 20 }, (_, i) => ({ name: `f${i}` })));
	const over = await unpack(t, many, { args: ['--max-entries', '19'] });
	assert.equal(over.status, 1);
	assert.match(over.err, /files and folders; raise it with --max-entries/);
	assert.equal((await unpack(t, many, { args: ['--max-entries', '20'] })).status, 0);
});

test('limits: a sparse file counts in full', async (t) => {
	// GNU sparse, old form: one byte of data at the end of a terabyte.
	const head = entry({ name: 'sparse', type: 'S', data: 'x' });
	const octal = (n) => n.toString(8).padStart(11, '0');
	const big = 2 ** 32;
	head.write(octal(big - 1) + '\0' + octal(1) + '\0', 386, 'latin1');
	head.write(octal(big) + '\0', 483, 'latin1');
	head.write('ustar  \0', 257, 'latin1');
	head.fill(' ', 148, 156);
	head.write(head.subarray(0, 512).reduce((a, b) => a + b, 0).toString(8).padStart(6, '0') + '\0 ', 148, 'latin1');
	const { status, err } = await unpack(t, Buffer.concat([head, Buffer.alloc(1024)]), { args: ['--max-size', '1G'] });
	assert.equal(status, 1, err);
	assert.match(err, /over its limit of bytes/);
});

test('a header that lies about the size, and a stream that breaks off', async (t) => {
	const short = await unpack(t, entry({ name: 'f', data: 'abc', size: 100000 }));
	assert.equal(short.status, 1, short.err);
	assert.match(short.err, /did not arrive as a proper tar/);
	const cut = await unpack(t, entry({ name: 'f', data: Buffer.alloc(600), size: 100000 }),
		{ end: (res) => setTimeout(() => res.destroy(), 200) });
	assert.equal(cut.status, 1);
	assert.match(cut.err, /broke off|closed|transfer/i);
});

test('not a tar at all', async (t) => {
	for (const bytes of [Buffer.from('<html>no</html>'.repeat(100)), Buffer.alloc(5000, 0xff)]) {
		const { status, err } = await unpack(t, bytes);
		assert.equal(status, 1, err);
		assert.match(err, /did not arrive as a proper tar/);
	}
});

test('names cannot write to the terminal', async (t) => {
	const { err } = await unpack(t, tar({ name: 'a\x1b[2Jb\nc', type: '3' }));
	assert.doesNotMatch(err, /\x1b/);
	assert.equal(err.trimEnd().split('\n').length, 1);
});

// ---- files ----

test('a file comes whole, to a name, into a folder, to the standard output', async (t) => {
	const body = Buffer.alloc(3_000_000, 'berth');
	const asked = [];
	const { url } = await gateway(t, (req, res) => {
		asked.push(req.url);
		res.writeHead(200, { 'Content-Length': body.length });
		res.end(body);
	});
	const dir = scratch(t), env = { BERTH_URL: url };
	const r = await berth(['cp', 'x:some dir/ü.bin', path.join(dir, 'f'), '--json'], { env });
	assert.equal(r.status, 0, r.err);
	assert.deepEqual(JSON.parse(r.out), { entries: 1, bytes: body.length, skipped: 0 });
	assert.ok(fs.readFileSync(path.join(dir, 'f')).equals(body));
	assert.match(asked[0], /^\/v1\/agents\/x\/files\/some%20dir\/%C3%BC\.bin$/);
	await berth(['cp', 'x:/var/log/y', dir], { env });
	assert.ok(fs.readFileSync(path.join(dir, 'y')).equals(body));
	assert.match(asked[1], /files\/\/var\/log\/y$/);
	assert.ok((await berth(['cp', 'x:y', '-'], { env, binary: true })).out.equals(body));
	assert.deepEqual(fs.readdirSync(dir).sort(), ['f', 'y']);
});

test('a file that breaks off, or never ends, leaves nothing and spares what was there', async (t) => {
	const { url } = await gateway(t, (req, res) => {
		res.writeHead(200, req.url.includes('cut') ? { 'Content-Length': 1000 } : {});
		res.write(Buffer.alloc(500));
		if (req.url.includes('cut'))
			return setTimeout(() => res.destroy(), 100);
		const more = () => { while (!res.destroyed && res.write(Buffer.alloc(65536))) ; };
		res.on('drain', more);
		more();
	});
	const dir = scratch(t), f = path.join(dir, 'f');
	fs.writeFileSync(f, 'before');
	for (const [name, complaint] of [['cut', /broke off/], ['endless', /over the limit.*--max-size/]]) {
		const r = await berth(['cp', `x:${name}`, f, '--max-size', '5M', '--url', url]);
		assert.equal(r.status, 1);
		assert.match(r.err, complaint);
		assert.equal(fs.readFileSync(f, 'utf8'), 'before');
		assert.deepEqual(fs.readdirSync(dir), ['f']);
	}
});

test('what the gateway refuses is told, with its way out', async (t) => {
	const { url } = await gateway(t, (req, res) => json(res, 404,
		{ type: 'file-not-found', status: 404, detail: 'there is no /nope in x', hint: 'look with berth exec' }));
	const r = await berth(['cp', 'x:/nope', scratch(t), '--url', url]);
	assert.equal(r.status, 1);
	assert.equal(r.err, 'berth: there is no /nope in x; look with berth exec\n');
});

// ---- to the agent ----

test('files and folders go up', async (t) => {
	const got = {};
	const { url } = await gateway(t, (req, res, body) => {
		if (req.method === 'GET')
			return req.url.includes('/files/Uploads?') ? json(res, 200, { entries: [] }) : json(res, 404, { status: 404, detail: 'no' });
		got[req.url] = body;
		res.writeHead(204).end();
	});
	const dir = scratch(t), env = { BERTH_URL: url };
	const big = Buffer.alloc(2_500_000, 'up');
	fs.mkdirSync(path.join(dir, 'd/sub'), { recursive: true });
	fs.writeFileSync(path.join(dir, 'd/sub/big'), big);
	fs.writeFileSync(path.join(dir, 'd/naïve.txt'), 'x', { mode: 0o640 });
	fs.symlinkSync('naïve.txt', path.join(dir, 'd/l'));
	execFileSync('mkfifo', [path.join(dir, 'd/pipe')]);
	assert.equal((await berth(['cp', path.join(dir, 'd/sub/big'), 'x:to', ], { env })).status, 0);
	assert.equal((await berth(['cp', path.join(dir, 'd/naïve.txt'), 'x:Uploads'], { env })).status, 0);
	assert.equal((await berth(['cp', '-', 'x:in'], { env, input: big })).status, 0);
	assert.equal((await berth(['cp', path.join(dir, 'd/sub/big'), 'x:./a/./b'], { env })).status, 0);
	assert.ok(got['/v1/agents/x/files/a/b?mode=0644'].equals(big));
	const whole = await berth(['cp', path.join(dir, 'd'), 'x:Uploads', '--json'], { env });
	assert.equal(whole.status, 0, whole.err);
	assert.match(whole.err, /left out pipe/);
	assert.equal(JSON.parse(whole.out).skipped, 1);
	assert.ok(got['/v1/agents/x/files/to?mode=0644'].equals(big));
	assert.equal(got['/v1/agents/x/files/Uploads/na%C3%AFve.txt?mode=0640'].toString(), 'x');
	assert.ok(got['/v1/agents/x/files/in'].equals(big));
	const file = path.join(dir, 'up.tar');
	fs.writeFileSync(file, got['/v1/agents/x/files/Uploads/d?format=tar']);
	const list = execFileSync('tar', ['tvf', file], { env: { ...process.env, LC_ALL: 'C.UTF-8' } }).toString();
	assert.match(list, /^drwx.* sub\/$/m);
	assert.match(list, / 2500000 .* sub\/big$/m);
	assert.match(list, /^-rw-r----- .* naïve\.txt$/m);
	assert.match(list, /^l.* l -> naïve\.txt$/m);
	assert.doesNotMatch(list, /pipe/);
});

test('a refusal in the middle of an upload is what gets told', async (t) => {
	const late = (await gateway(t, () => {})).server;
	late.removeAllListeners('request');
	late.on('request', (req, res) => {
		if (req.method === 'GET')
			return json(res, 404, { status: 404, detail: 'no' });
		req.once('data', () => {
			req.resume();
			res.writeHead(507, { 'Content-Type': 'application/problem+json' });
			res.end(JSON.stringify({ type: 'disk-full', status: 507, detail: 'the disk of x is full', hint: 'remove something' }));
		});
	});
	const r = await berth(['cp', '/dev/zero', 'x:f', '--url', `http://127.0.0.1:${late.address().port}`]);
	assert.equal(r.status, 1);
	assert.equal(r.err, 'berth: the disk of x is full; remove something\n');
});

test('a missing file here', async (t) => {
	const { url } = await gateway(t, (req, res) => json(res, 404, { status: 404, detail: 'no' }));
	const r = await berth(['cp', '/nonexistent', 'x:f', '--url', url]);
	assert.equal(r.status, 1);
	assert.match(r.err, /cannot open \/nonexistent/);
});
