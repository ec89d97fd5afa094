// What each verb asks of the gateway, and what it prints, for people and as JSON.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { berth, gateway, json, scratch } from './lib.mjs';

const demo = {
	id: 'ag_abcdefghijklmnop', name: 'demo', state: 'running', state_detail: '', image: '0123456789abcdef', memory_mib: 1024,
	cpus: 2, disk_gib: 8, labels: { team: 'a' }, created_at: '2026-10-01T12:00:00.000Z', parent: null, browser: 'up',
	memory_bytes: 300 * 2 ** 20, disk_bytes: 5 * 2 ** 20, policy: ['example.com', '*.example.com'],
	urls: { cdp: 'ws://127.0.0.1:7900/v1/agents/demo/cdp', cdp_http: 'http://127.0.0.1:7900/v1/agents/demo' },
};
const event = { seq: 1, time: '2026-10-01T12:00:00.000Z', type: 'agent.running', agent: 'demo', detail: 'up\nnow', by: 'local' };

const action = { seq: 3, time: '2026-10-01T12:00:01.000Z', source: 'mcp/browser_click', by: 'tok_a', action: 'click',
	params: { ref: 'e7', at: [1, 2] }, ok: false, error: 'it is covered', duration_ms: 31, url: 'https://a.example/x' };

const snapshot = { id: 'sn_aaaaaaaaaaaaaaaa', tag: 'first', agent: 'demo', agent_id: demo.id, parent: null, created_at: new Date(Date.now() - 9 * 86400e3).toISOString(),
	memory: true, pause_ms: 23, memory_bytes: 40 * 2 ** 20, own_bytes: 45 * 2 ** 20 };
const asleep = { ...demo, state: 'suspended', browser: 'down', memory_bytes: 0 };
const at = (letter, parent, more = {}) => ({ ...snapshot, id: `sn_${letter.repeat(16)}`, tag: null, parent: parent && `sn_${parent.repeat(16)}`, ...more });
const family = { snapshots: [snapshot, at('b', 'a', { memory: false, own_bytes: 0 }), at('c', 'b', { tag: 'x\x1by' }), at('d', 'a'), at('e', 'z', { agent: 'other' }), at('f', 'e')] };

// Runs berth against a gateway with these answers ("METHOD PATH": value or [status, value]); gives also what was asked.
async function ask(t, args, answers, options = {}) {
	const asked = [];
	const { url } = await gateway(t, (req, res, body) => {
		asked.push([`${req.method} ${req.url}`, body.length ? JSON.parse(body) : null]);
		const answer = answers[`${req.method} ${req.url}`];
		if (answer === undefined)
			return json(res, 404, { type: 'not-found', status: 404, detail: `no ${req.method} ${req.url}` });
		if (typeof answer === 'function')
			return answer(req, res);
		if (Array.isArray(answer) && typeof answer[0] === 'number')
			return json(res, ...answer);
		answer === null ? res.writeHead(204).end() : json(res, 200, answer);
	});
	return { ...await berth(args, { env: { BERTH_URL: url, BERTH_TOKEN: 'tok' }, ...options }), asked };
}

const limits = { bandwidth_up: null, bandwidth_down: 2 ** 20, connections: 512, connections_per_second: 100, dns_per_second: null,
	bytes_per_run: null, bytes_per_day: 2 ** 31, on_limit: 'suspend' };

// [arguments, answers, what is asked (the last), what a person reads, what JSON says]
const cases = [
	[['create', 'demo', '--memory', '512', '--cpus', '1', '--disk', '2', '--allow', 'example.com', '--allow', '*.example.com:8443',
		'--label', 'a=b=c', '--label', 'x=', '--image', 'i', '--on-crash', 'stop', '--no-start'], { 'POST /v1/agents': demo },
	['POST /v1/agents', { name: 'demo', image: 'i', on_crash: 'stop', start: false, memory_mib: 512, cpus: 1, disk_gib: 2,
		allow: ['example.com', '*.example.com:8443'], labels: { a: 'b=c', x: '' } }],
	/demo is running\ncdp +ws:.*\ncdp_http +http:/, demo],
	[['ls'], { 'GET /v1/agents': { agents: [demo] } }, ['GET /v1/agents', null], /^NAME .*\ndemo +running +up +300 MiB +5.0 MiB/, { agents: [demo] }],
	[['ls', '-q'], { 'GET /v1/agents': { agents: [demo] } }, ['GET /v1/agents', null], /^demo\n$/, { agents: [demo] }],
	[['ls', '--label', 'a=b c'], { 'GET /v1/agents?label=a%3Db%20c': { agents: [] } }, ['GET /v1/agents?label=a%3Db%20c', null],
		/^NAME/, { agents: [] }],
	[['show', 'demo'], { 'GET /v1/agents/demo': demo }, ['GET /v1/agents/demo', null],
		/^id .*\nname +demo\n[^]*memory_used +300 MiB[^]*policy +example.com\n +\*\.example\.com\ncdp /, demo],
	[['start', 'demo'], { 'POST /v1/agents/demo/start': demo }, ['POST /v1/agents/demo/start', null], /^demo running\n$/, demo],
	[['stop', 'demo', '-f'], { 'POST /v1/agents/demo/stop': { ...demo, state: 'stopped' } },
		['POST /v1/agents/demo/stop', { force: true }], /^demo stopped\n$/, { ...demo, state: 'stopped' }],
	[['restart', 'demo', 'b'], { 'POST /v1/agents/demo/restart': demo, 'POST /v1/agents/b/restart': demo },
		['POST /v1/agents/b/restart', null], /^demo running\nb running\n$/, [demo, demo]],
	[['suspend', 'demo'], { 'POST /v1/agents/demo/suspend': asleep }, ['POST /v1/agents/demo/suspend', null], /^demo suspended\n$/, asleep],
	[['resume', 'demo', 'b'], { 'POST /v1/agents/demo/resume': demo, 'POST /v1/agents/b/resume': demo },
		['POST /v1/agents/b/resume', null], /^demo running\nb running\n$/, [demo, demo]],
	[['ls'], { 'GET /v1/agents': { agents: [asleep] } }, ['GET /v1/agents', null], /\ndemo +suspended +- +- +5.0 MiB/, { agents: [asleep] }],
	[['create', 'demo', '--from', 'first', '--idle-suspend', '0'], { 'POST /v1/agents': demo },
		['POST /v1/agents', { name: 'demo', from: 'first', idle_suspend: 0, labels: {} }], /^demo is running\n/, demo],
	[['create', 'demo', '--from', 'first', '--allow', 'a.b'], { 'POST /v1/agents': demo },
		['POST /v1/agents', { name: 'demo', from: 'first', allow: ['a.b'], labels: {} }], /^demo is running\n/, demo],
	[['update', 'demo', '--idle-suspend', '600', '--memory', '2048', '--cpus', '4', '--on-crash', 'stop'], { 'PATCH /v1/agents/demo': demo },
		['PATCH /v1/agents/demo', { idle_suspend: 600, memory_mib: 2048, cpus: 4, on_crash: 'stop' }], /^demo updated\n$/, demo],
	[['snapshot', 'demo', '--tag', 'first'], { 'POST /v1/agents/demo/snapshots': snapshot }, ['POST /v1/agents/demo/snapshots', { tag: 'first' }],
		/^sn_a{16} of demo: memory and disk, 45 MiB, it stood still for 23 ms\n$/, snapshot],
	[['snapshot', 'demo', '--disk-only'], { 'POST /v1/agents/demo/snapshots': { ...snapshot, memory: false } },
		['POST /v1/agents/demo/snapshots', { memory: false }], /: disk only,/, { ...snapshot, memory: false }],
	[['snapshots'], { 'GET /v1/snapshots': family }, ['GET /v1/snapshots', null], new RegExp(['^SNAPSHOT +TAG +AGENT +AGE +KEEPS +REMOVING FREES',
		'sn_a{16} +first +demo +9 d +memory +45 MiB', '├─sn_b{16} +- +demo +9 d +disk +0 B', '│ └─sn_c{16} +x\\?y +demo .*', '└─sn_d{16} .*',
		'sn_e{16} +- +other .*', '└─sn_f{16} .*', '$'].join('\n')), family],
	[['snapshots', 'demo', '-q'], { 'GET /v1/agents/demo/snapshots': { snapshots: [snapshot] } }, ['GET /v1/agents/demo/snapshots', null],
		/^sn_a{16}\n$/, { snapshots: [snapshot] }],
	[['restore', 'demo', 'first'], { 'POST /v1/agents/demo/restore': { ...demo, snapshot: snapshot.id } },
		['POST /v1/agents/demo/restore', { snapshot: 'first' }], /^demo running, as it was at sn_a{16}\n$/, { ...demo, snapshot: snapshot.id }],
	[['fork', 'demo', 'left', 'right', '--snapshot', 'first'], { 'POST /v1/agents/demo/fork': { agents: [{ ...demo, name: 'left' }, { ...demo, name: 'right' }] } },
		['POST /v1/agents/demo/fork', { names: ['left', 'right'], snapshot: 'first' }], /^left running\nright running\n$/,
		{ agents: [{ ...demo, name: 'left' }, { ...demo, name: 'right' }] }],
	[['fork', 'demo', '--count', '1'], { 'POST /v1/agents/demo/fork': { agents: [{ ...demo, name: 'demo-1' }] } },
		['POST /v1/agents/demo/fork', { count: 1 }], /^demo-1 running\n$/, { agents: [{ ...demo, name: 'demo-1' }] }],
	[['snapshot-rm', 'first', 'a/b'], { 'DELETE /v1/snapshots/first': null, 'DELETE /v1/snapshots/a%2Fb': null },
		['DELETE /v1/snapshots/a%2Fb', null], /^first removed\na\/b removed\n$/, {}],
	[['rm', 'demo'], { 'DELETE /v1/agents/demo': null }, ['DELETE /v1/agents/demo', null], /^demo removed\n$/, {}],
	[['open', 'demo', 'https://example.com/?a=ü', '--timeout', '5', '--new-tab'],
		{ 'POST /v1/agents/demo/open': { url: 'https://example.com/', title: 'T\x1b[2J', status: 200, target: 'X' } },
		['POST /v1/agents/demo/open', { url: 'https://example.com/?a=ü', timeout: 5, new_tab: true }],
		/^200 https:\/\/example.com\/ T\?\[2J\n$/, { url: 'https://example.com/', title: 'T\x1b[2J', status: 200, target: 'X' }],
	[['port', 'demo', '9222'], { 'POST /v1/agents/demo/port': { port: 9222 } }, ['POST /v1/agents/demo/port', { port: 9222 }],
		/^http:\/\/127.0.0.1:9222\n$/, { port: 9222 }],
	[['port', 'demo'], { 'POST /v1/agents/demo/port': { port: 33333 } }, ['POST /v1/agents/demo/port', {}],
		/^http:\/\/127.0.0.1:33333\n$/, { port: 33333 }],
	[['port', 'demo', '--close'], { 'DELETE /v1/agents/demo/port': null }, ['DELETE /v1/agents/demo/port', null], /^$/, {}],
	[['token', 'create', '--role', 'agent', '--agent', 'demo', '--ttl', '60', '--label', 'l', '--replace'],
		{ 'POST /v1/tokens': { id: 'tok_1', token: 'SECRET', role: 'agent', agent: 'demo' } },
		['POST /v1/tokens', { role: 'agent', agent: 'demo', ttl: 60, label: 'l', replace: true }], /(^|\n)SECRET\n$/,
		{ id: 'tok_1', token: 'SECRET', role: 'agent', agent: 'demo' }],
	[['token', 'ls'], { 'GET /v1/tokens': { tokens: [{ id: 'tok_1', role: 'admin', agent: null, label: 'x' }] } },
		['GET /v1/tokens', null], /^ID .*\ntok_1 +admin +- +x +- +never +never\n$/,
		{ tokens: [{ id: 'tok_1', role: 'admin', agent: null, label: 'x' }] }],
	[['token', 'revoke', 'tok_1', 'tok_/2'], { 'DELETE /v1/tokens/tok_1': null, 'DELETE /v1/tokens/tok_%2F2': null },
		['DELETE /v1/tokens/tok_%2F2', null], /^tok_1 revoked\ntok_\/2 revoked\n$/, {}],
	[['policy', 'demo'], { 'GET /v1/agents/demo/policy': { mode: 'enforce', rules: ['a.b', '*.c.d:8443'] } },
		['GET /v1/agents/demo/policy', null], /^a\.b\n\*\.c\.d:8443\n$/, { mode: 'enforce', rules: ['a.b', '*.c.d:8443'] }],
	[['policy', 'demo', 'allow', 'a.b', 'c.d'], { 'PATCH /v1/agents/demo/policy': { mode: 'enforce', rules: ['a.b', 'c.d'] } },
		['PATCH /v1/agents/demo/policy', { allow: ['a.b', 'c.d'] }], /^a\.b\nc\.d\n$/, { mode: 'enforce', rules: ['a.b', 'c.d'] }],
	[['policy', 'demo', 'remove', 'a.b'], { 'PATCH /v1/agents/demo/policy': { mode: 'enforce', rules: [] } },
		['PATCH /v1/agents/demo/policy', { remove: ['a.b'] }], /^$/, { mode: 'enforce', rules: [] }],
	[['policy', 'demo', 'limit', 'bandwidth_down=1M', 'bytes_per_day=2G', 'dns_per_second=none', 'on_limit=suspend'],
		{ 'PATCH /v1/agents/demo/policy': { mode: 'enforce', rules: [], limits } }, ['PATCH /v1/agents/demo/policy',
			{ limits: { bandwidth_down: 2 ** 20, bytes_per_day: 2 ** 31, dns_per_second: null, on_limit: 'suspend' } }],
		/^bandwidth_up=none\nbandwidth_down=1M\nconnections=512\n[^]*bytes_per_day=2G\non_limit=suspend\n$/, { mode: 'enforce', rules: [], limits }],
	[['policy', 'demo'], { 'GET /v1/agents/demo/policy': { mode: 'enforce', rules: ['a.b'], limits, usage: { bytes_per_run: 9, bytes_per_day: 7, limited: null } } },
		['GET /v1/agents/demo/policy', null], /^a\.b\n# bandwidth_down=1M\n# dns_per_second=none\n# bytes_per_day=2G \(7 bytes used\)\n# on_limit=suspend\n$/,
		{ mode: 'enforce', rules: ['a.b'], limits, usage: { bytes_per_run: 9, bytes_per_day: 7, limited: null } }],
	[['show', 'demo'], { 'GET /v1/agents/demo': { ...demo, limits } }, ['GET /v1/agents/demo', null],
		/\nlimits +bandwidth_down=1M\n +dns_per_second=none\n +bytes_per_day=2G\n +on_limit=suspend\n/, { ...demo, limits }],
	[['create', 'demo', '--limit', 'connections=9', '--limit', 'bytes_per_run=1M'], { 'POST /v1/agents': demo },
		['POST /v1/agents', { name: 'demo', allow: [], limits: { connections: 9, bytes_per_run: 2 ** 20 }, labels: {} }], /demo is running/, demo],
	[['policy', 'demo', 'log', '--denied', '-n', '5'],
		{ 'GET /v1/agents/demo/policy/log?limit=5&verdict=deny': { entries: [{ time: 'T', name: 'x.y', port: 443, protocol: 'tcp',
			verdict: 'deny', reason: 'no rule', count: 3 }] } }, ['GET /v1/agents/demo/policy/log?limit=5&verdict=deny', null],
		/\nT +deny +x\.y:443 +tcp +3 +no rule\n$/, { entries: [{ time: 'T', name: 'x.y', port: 443, protocol: 'tcp', verdict: 'deny', reason: 'no rule', count: 3 }] }],
	[['log', 'demo', '--limit', '7'], { 'GET /v1/agents/demo/events?follow=0&limit=7': { events: [event] }, 'GET /v1/agents/demo/log?limit=7': { entries: [action] } },
		['GET /v1/agents/demo/events?follow=0&limit=7', null], new RegExp('^.*agent\\.running +demo +up\\?now +\\(by local\\)\n2026-10-01T12:00:01.000Z  click +demo' +
			'  ref=e7  at=\\[1,2\\]  https://a.example/x  FAILED: it is covered  31 ms  \\(mcp/browser_click by tok_a\\)\n$'),
		{ events: [event], actions: [action] }],
	[['events'], { 'GET /v1/events?follow=0&limit=100': { events: [event] } }, ['GET /v1/events?follow=0&limit=100', null],
		/agent\.running/, { events: [event] }],
	[['image', 'ls'], { 'GET /v1/images': { images: [{ id: 'abc', flavor: 'headless-shell', size: 7e8, packages: 300, default: true }] } },
		['GET /v1/images', null], /\nabc +headless-shell +- +668 MiB +300 +yes\n$/,
		{ images: [{ id: 'abc', flavor: 'headless-shell', size: 7e8, packages: 300, default: true }] }],
	[['image', 'rm', 'abc'], { 'DELETE /v1/images/abc': null }, ['DELETE /v1/images/abc', null], /^abc removed\n$/, {}],
	[['status'], { 'GET /v1/status': { version: '0.1.0', pid: 1, listen: '127.0.0.1:7900', agents: { running: 2 } } },
		['GET /v1/status', null], /version +0\.1\.0[^]*agents +2 running/, { version: '0.1.0', pid: 1, listen: '127.0.0.1:7900', agents: { running: 2 } }],
];
for (const [args, answers, request, text, value] of cases) {
	test(`berth ${args.join(' ')}`, async (t) => {
		const people = await ask(t, args, answers);
		assert.equal(people.status, 0, people.err);
		assert.deepEqual(people.asked.at(-1), request);
		assert.match(people.out, text);
		assert.doesNotMatch(people.out, /\x1b/);
		const program = await ask(t, [...args, '--json'], answers);
		assert.equal(program.status, 0, program.err);
		assert.deepEqual(JSON.parse(program.out), value);
		assert.deepEqual(program.asked, people.asked);
	});
}

test('snapshots: a circle of parents is shown once and ends', async (t) => {
	const list = [at('a', 'b'), at('b', 'a'), at('c', 'c'), { id: 5 }];
	const r = await ask(t, ['snapshots'], { 'GET /v1/snapshots': { snapshots: list } });
	assert.equal(r.status, 0, r.err);
	assert.deepEqual(r.out.trim().split('\n').slice(1).map((l) => l.split(' ')[0]), ['?', 'sn_aaaaaaaaaaaaaaaa', '└─sn_bbbbbbbbbbbbbbbb', 'sn_cccccccccccccccc']);
});

test('cdp prints the address with a token inside, and nothing else', async (t) => {
	const answers = { 'GET /v1/agents/demo': demo, 'POST /v1/tokens': { id: 'tok_1', token: 'SECRET' } };
	const r = await ask(t, ['cdp', 'demo'], answers);
	assert.equal(r.out, 'ws://127.0.0.1:7900/v1/agents/demo/cdp?token=SECRET\n');
	assert.equal(r.err, '');
	assert.deepEqual(r.asked.at(-1), ['POST /v1/tokens', { role: 'agent', agent: 'demo', ttl: 2592000, label: 'cdp' }]);
	const j = JSON.parse((await ask(t, ['cdp', 'demo', '--json'], answers)).out);
	assert.equal(j.cdp, r.out.trim());
	assert.equal(j.cdp_http, demo.urls.cdp_http);
	const again = await ask(t, ['cdp', 'demo', '--label', 'mine', '--replace'], answers);
	assert.deepEqual(again.asked.at(-1)[1], { role: 'agent', agent: 'demo', ttl: 2592000, label: 'mine', replace: true });
	// A caller whose own token may not make tokens.
	const own = await ask(t, ['cdp', 'demo'], { ...answers, 'POST /v1/tokens': [403, { type: 'forbidden', status: 403, detail: 'no' }] });
	assert.equal(own.out, 'ws://127.0.0.1:7900/v1/agents/demo/cdp?token=tok\n');
});

test('screenshot writes whole files only', async (t) => {
	const dir = scratch(t), file = path.join(dir, 'p.png'), picture = Buffer.alloc(100000, 'p');
	const path_ = '/v1/agents/demo/screenshot?format=';
	const fine = (req, res) => res.end(picture);
	const r = await ask(t, ['screenshot', 'demo', file], { [`GET ${path_}png`]: fine });
	assert.equal(r.status, 0, r.err);
	assert.ok(fs.readFileSync(file).equals(picture));
	const cut = await ask(t, ['screenshot', 'demo', file], { [`GET ${path_}png`]: (req, res) => {
		res.writeHead(200, { 'Content-Length': 100 });
		res.write('x');
		setTimeout(() => res.destroy(), 100);
	} });
	assert.equal(cut.status, 1);
	assert.ok(fs.readFileSync(file).equals(picture));
	assert.deepEqual(fs.readdirSync(dir), ['p.png']);
	const more = await ask(t, ['screenshot', 'demo', '-', '--format', 'jpeg', '--quality', '50', '--full-page'],
		{ [`GET ${path_}jpeg&quality=50&full_page=true`]: fine }, { binary: true });
	assert.ok(more.out.equals(picture));
});

const stream = (...events) => (req, res) => {
	assert.match(req.headers.accept, /text\/event-stream/);
	res.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' });
	for (const [name, data] of events)
		res.write(`event: ${name}\r\ndata: ${JSON.stringify(data)}\n\n`);
	res.end();
};

test('what takes long is shown step by step', async (t) => {
	const r = await ask(t, ['start', 'demo', '--json'], { 'POST /v1/agents/demo/start': stream(['progress', { step: 'booting' }],
		['progress', { step: 'booting' }], ['progress', { step: 'browser', detail: 'waiting\x1b' }], ['result', demo]) });
	assert.equal(r.status, 0, r.err);
	assert.equal(r.err, 'starting demo: booting\nstarting demo: browser, waiting?\n');
	assert.deepEqual(JSON.parse(r.out), demo);
	const bad = await ask(t, ['start', 'demo'], { 'POST /v1/agents/demo/start': stream(['progress', { step: 'booting' }],
		['error', { type: 'qemu-missing', status: 503, detail: 'there is no QEMU', hint: 'install it' }]) });
	assert.equal(bad.status, 1);
	assert.match(bad.err, /\nberth: there is no QEMU; install it\n$/);
	const cut = await ask(t, ['start', 'demo'], { 'POST /v1/agents/demo/start': stream(['progress', { step: 'booting' }]) });
	assert.equal(cut.status, 1);
	assert.match(cut.err, /broke off before the work was done/);
});

test('following gives events as they come', async (t) => {
	const r = await ask(t, ['events', '--follow', '--json'], { 'GET /v1/events?follow=1&limit=100': stream(['message', event], ['x', { ...event, seq: 2 }]) });
	assert.deepEqual(r.out.trim().split('\n').map((l) => JSON.parse(l).seq), [1, 2]);
	assert.match(r.err, /ended the stream/);
	assert.equal(r.status, 1);
});

test('the log: the last lines of events and actions, and both as they come', async (t) => {
	const later = { ...event, seq: 2, time: '2026-10-01T12:00:02.000Z', type: 'agent.stopped' };
	const first = { 'GET /v1/agents/demo/log?limit=2': { entries: [action] }, 'GET /v1/agents/demo/events?follow=0&limit=2': { events: [event, later] } };
	const kinds = (r) => r.out.trim().split('\n').map((l) => l.split(/ +/)[1]);
	assert.deepEqual(kinds(await ask(t, ['log', 'demo', '-n', '2'], first)), ['click', 'agent.stopped']);
	const sse = (ms, ...list) => (req, res) => {
		res.writeHead(200, { 'Content-Type': 'text/event-stream' });
		for (const [name, data] of list)
			res.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
		if (ms)
			setTimeout(() => res.end(), ms);
	};
	const r = await ask(t, ['log', 'demo', '-n', '2', '-f', '--json'], { ...first,
		'GET /v1/agents/demo/events?follow=1&after=2': sse(1500, ['agent.failed', { ...event, seq: 4, type: 'agent.failed' }]),
		'GET /v1/agents/demo/log?follow=1&after=3': sse(0, ['action', { ...action, seq: 5, action: 'type' }]) });
	const lines = r.out.trim().split('\n').map((l) => JSON.parse(l));
	assert.deepEqual(lines.slice(0, 2).map((l) => l.action ?? l.type), ['click', 'agent.stopped']);
	assert.deepEqual(lines.slice(2).map((l) => l.action ?? l.type).sort(), ['agent.failed', 'type']);
	assert.match(r.err, /ended the stream/);
	const gone = await ask(t, ['log', 'demo', '-n', '2', '-f'], { ...first, 'GET /v1/agents/demo/events?follow=1&after=2': sse(0),
		'GET /v1/agents/demo/log?follow=1&after=3': sse(0, ['error', { type: 'agent-not-found', status: 404, detail: 'there is no agent' }]) });
	assert.deepEqual([gone.status, gone.err], [1, 'berth: there is no agent\n']);
});

test('errors: the problem, its way out, or at least the status', async (t) => {
	const told = await ask(t, ['show', 'demo'], { 'GET /v1/agents/demo': [404, { type: 'agent-not-found', status: 404, detail: 'there is no agent demo', hint: '`berth ls` lists them' }] });
	assert.equal(told.err, 'berth: there is no agent demo; `berth ls` lists them\n');
	assert.equal(told.status, 1);
	const html = await ask(t, ['show', 'demo'], { 'GET /v1/agents/demo': (req, res) => res.writeHead(502).end('<html>') });
	assert.match(html.err, /answered 502/);
	const odd = await ask(t, ['show', 'demo'], { 'GET /v1/agents/demo': (req, res) => res.end('{"a":') });
	assert.match(odd.err, /not JSON/);
	const wrong = await ask(t, ['show', 'demo'], { 'GET /v1/agents/demo': [401, { type: 'token-unknown', status: 401, detail: 'this token is not known' }] });
	assert.match(wrong.err, /this token is not known; give a token with --token or BERTH_TOKEN/);
	const many = await ask(t, ['start', 'demo', 'b', 'c'], { 'POST /v1/agents/demo/start': demo });
	assert.equal(many.out, 'demo running\n');
	assert.match(many.err, /no POST \/v1\/agents\/b\/start/);
	assert.equal(many.asked.length, 2);
});
