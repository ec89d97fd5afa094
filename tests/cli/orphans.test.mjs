// The real appliance, without agents, after its supervisor was killed: down stops everything, up takes its place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { berth, scratch } from './lib.mjs';

const alive = (pid) => {
	try {
		return !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
	} catch {
		return false;
	}
};

async function until(what, holds) {
	for (let i = 0; i < 1200; i++) {
		if (await holds())
			return;
		await new Promise((done) => setTimeout(done, 50));
	}
	assert.fail(`${what}: not within a minute`);
}

// An appliance on a scratch folder whose supervisor has just been killed; null, and the test is skipped, where none can be.
async function orphans(t) {
	const state = scratch(t), env = { BERTH_STATE: state };
	fs.chmodSync(state, 0o711);
	const up = await berth(['up', '--listen', '127.0.0.1:0'], { env });
	if (up.status !== 0 && /namespace|tun/.test(up.err))
		return t.skip(up.err.trim()), null;
	assert.equal(up.status, 0, up.err);
	t.after(() => berth(['down'], { env }));
	const pid = (name) => Number(fs.readFileSync(path.join(state, 'run', `${name}.pid`), 'utf8').split(' ')[0]);
	const was = { supervisor: pid('up'), berthd: pid('berthd'), gateway: pid('gateway') };
	process.kill(was.supervisor, 'SIGKILL');
	await until('the supervisor ends', () => !alive(was.supervisor));
	return { state, env, pid, was };
}

function assertNothingLeft({ state, was }) {
	for (const [name, pid] of Object.entries(was))
		assert.ok(!alive(pid), `${name} lives on`);
	assert.ok(!fs.existsSync(path.join(state, 'run')), 'STATE/run is left');
}

test('down stops what a dead supervisor left', { timeout: 240000 }, async (t) => {
	const o = await orphans(t);
	if (!o)
		return;
	const status = await berth(['status'], { env: o.env });
	assert.equal(status.status, 0, status.err);
	assert.match(status.err, /supervisor has died/);
	const down = await berth(['down'], { env: o.env });
	assert.equal(down.status, 0, down.err);
	assert.match(down.out, /is down: its supervisor had died/);
	assertNothingLeft(o);
	assert.match((await berth(['down'], { env: o.env })).out, /was not up/);
});

test('up takes the place of a dead supervisor', { timeout: 240000 }, async (t) => {
	const o = await orphans(t);
	if (!o)
		return;
	const up = await berth(['up', '--listen', '127.0.0.1:0', '--json'], { env: o.env });
	assert.equal(up.status, 0, up.err);
	assert.equal(JSON.parse(up.out).already, false);
	assert.ok(alive(o.pid('up')) && alive(o.pid('berthd')) && alive(o.pid('gateway')));
	assertGone([o.was.berthd, o.was.gateway]);
	assert.match((await berth(['up'], { env: o.env })).out, /up already/);
	const { listen } = JSON.parse(up.out); // port 0 was asked for
	assert.match(listen, /^127\.0\.0\.1:[1-9]\d*$/);
	assert.equal((await fetch(`http://${listen}/healthz`)).status, 200);
	assert.equal(JSON.parse((await berth(['status', '--json'], { env: o.env })).out).listen, listen);
	assert.match((await berth(['down'], { env: o.env })).out, /^berth is down$/m);
	assertNothingLeft(o);
});

function assertGone(pids) {
	for (const pid of pids)
		assert.ok(!alive(pid), `process ${pid} lives on beside the new one`);
}

test('down ends everything even when no berthd can start any more', { timeout: 240000 }, async (t) => {
	const o = await orphans(t);
	if (!o)
		return;
	process.kill(o.was.berthd, 'SIGKILL');
	await until('berthd ends', () => !alive(o.was.berthd));
	for (const suffix of ['-wal', '-shm'])
		fs.rmSync(path.join(o.state, `berth.db${suffix}`), { force: true });
	fs.writeFileSync(path.join(o.state, 'berth.db'), 'not a database, but long enough');
	const down = await berth(['down', '--json'], { env: o.env });
	assert.equal(down.status, 0, down.err);
	assert.match(down.err, /database/);
	assert.deepEqual(JSON.parse(down.out), { was_up: true, supervisor_died: true, killed: true });
	assertNothingLeft(o);
});
