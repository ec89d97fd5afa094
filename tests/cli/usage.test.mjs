// Usage: help for every verb, complaints that say what would have been right, completion, manual pages.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execFileSync, spawnSync } from 'node:child_process';
import { berth, berthPath, scratch } from './lib.mjs';

const top = fileURLToPath(new URL('../..', import.meta.url));
const promised = ['up', 'down', 'status', 'doctor', 'image build', 'image ls', 'image rm', 'create', 'ls', 'show', 'start',
	'stop', 'restart', 'suspend', 'resume', 'update', 'snapshot', 'snapshots', 'restore', 'fork', 'snapshot-rm', 'rm', 'cdp', 'open', 'screenshot', 'port', 'token create', 'token ls', 'token revoke', 'log',
	'events', 'policy', 'exec', 'cp', 'completion', 'version'];

const oneLine = (text) => text.length > 0 && text.trimEnd().split('\n').length === 1;

test('the list of commands names every command', async () => {
	const { status, out } = await berth(['--help']);
	assert.equal(status, 0);
	for (const verb of promised)
		assert.match(out, new RegExp(`^  ${verb} `, 'm'), verb);
	assert.equal((await berth([])).out, out);
});

for (const verb of promised) {
	test(`help of ${verb}`, async () => {
		const asked = await berth(['help', ...verb.split(' ')]);
		const flagged = await berth([...verb.split(' '), '--help']);
		assert.equal(asked.status, 0);
		assert.match(asked.out, new RegExp(`^Usage: berth ${verb}`));
		assert.match(asked.out, /^Examples:\n  \S/m);
		assert.match(asked.out, /--json /);
		assert.deepEqual(flagged, asked);
		for (const line of asked.out.split('\nExamples:')[0].split('\n'))
			assert.ok(line.length <= 80 || line.startsWith('Usage:'), line);
	});
}

const wrong = [
	[['creat', 'x'], /no command 'creat'; did you mean `berth create`/],
	[['xyzzy'], /no command 'xyzzy'; `berth --help` lists/],
	[['token', 'rvoke', 'x'], /did you mean `berth token revoke`/],
	[['image'], /needs to be told what to do/],
	[['create'], /needs NAME/],
	[['create', 'a', 'b'], /does not know what to do with 'b'/],
	[['create', '--memroy', '4', 'x'], /no option '--memroy'; did you mean --memory/],
	[['create', 'x', '--memory'], /--memory needs a value/],
	[['create', 'x', '--memory', 'lots'], /number from 256 to 65536, not 'lots'/],
	[['create', 'x', '--memory', '255'], /number from 256 to 65536/],
	[['create', 'x', '--memory', '-1'], /number from 256 to 65536/],
	[['create', 'x', '--cpus', '17'], /number from 1 to 16/],
	[['create', 'x', '--disk', '99999999999999999999'], /number from 1 to 1024/],
	[['create', 'x', '--label', 'novalue'], /KEY=VALUE/],
	[['create', 'x', '--on-crash', 'panic'], /one of: restart stop/],
	[['create', 'x', '--idle-suspend', '2592001'], /number from 0 to 2592000/],
	[['update', 'x'], /needs an option/],
	[['update', 'x', '--idle-suspend', '-1'], /number from 0 to 2592000/],
	[['fork', 'x'], /needs names for the new agents, or --count/],
	[['fork', 'x', 'y', '--count', '2'], /needs names for the new agents, or --count/],
	[['fork', 'x', '--count', '101'], /number from 1 to 100/],
	[['restore', 'x'], /needs SNAPSHOT/],
	[['snapshot-rm'], /needs SNAPSHOT/],
	[['snapshot', 'x', 'y'], /does not know what to do with 'y'/],
	[['ls', '--json=yes'], /--json takes no value/],
	[['ls', '-Z'], /no option '-Z'/],
	[['stop'], /needs NAME/],
	[['exec', 'x'], /needs CMD/],
	[['exec', 'x', '--env', 'BAD', '--', 'true'], /NAME=VALUE/],
	[['cp', 'a', 'b'], /one side of a copy must be NAME:PATH/],
	[['cp', 'x:a', 'y:b'], /one side of a copy must be NAME:PATH/],
	[['cp', 'x:a', 'b', '--max-size', '5X'], /--max-size must look like/],
	[['policy', 'x', 'shw'], /one of: show allow deny remove mode limit log\b/],
	[['policy', 'x', 'allow'], /needs a rule/],
	[['policy', 'x', 'show', 'y'], /takes no rules/],
	[['port', 'x', '0'], /1 to 65535/],
	[['port', 'x', 'http'], /1 to 65535/],
	[['screenshot', 'x', 'picture'], /end it with .png/],
	[['token', 'create'], /needs --role/],
	[['token', 'create', '--role', 'root'], /one of: admin agent viewer/],
	[['completion', 'tcsh'], /one of: bash zsh fish/],
	[['help', 'nonsense'], /no command 'nonsense'/],
	[['ls', '--url', 'ftp://x'], /not the URL of a gateway/],
	[['up', '--url', 'http://127.0.0.1:1'], /appliance on this machine/],
	[['--nonsense'], /no option '--nonsense'/],
];
for (const [args, complaint] of wrong) {
	test(`wrong usage: berth ${args.join(' ')}`, async () => {
		const { status, out, err } = await berth(args);
		assert.match(err, complaint);
		assert.equal(status, 2);
		assert.equal(out, '');
		assert.ok(oneLine(err), err);
	});
}

const refused = [
	[['create', 'Bad_Name'], /not a name for an agent/],
	[['show', '-x'.slice(1) + '/../y'], /not a name for an agent/],
	[['create', 'x', '--allow', 'http://example.com/'], /--allow/],
	[['create', 'x', '--allow', '10.0.0.1'], /--allow/],
	[['fork', 'x', 'Y'], /not a name for an agent/],
	[['snapshots', '../x'], /not a name for an agent/],
	[['policy', 'x', 'limit', 'colour=red'], /no limit 'colour'/],
	[['policy', 'x', 'limit', 'connections'], /not KEY=VALUE/],
	[['policy', 'x', 'limit', 'bandwidth_up=12'], /between 1024 and/],
	[['create', 'x', '--limit', 'connections=1K'], /between 1 and 512/],
	[['policy', 'x', 'allow', '*'], /is every name there is/],
	[['ls'], /the appliance does not run .*; start it with `berth up`/],
	[['ls', '--url', 'http://127.0.0.1:1'], /the gateway at http:\/\/127.0.0.1:1/],
	[['cp', 'x:a', '/nonexistent/dir/b', '--url', 'http://127.0.0.1:1'], /the gateway at/],
];
for (const [args, complaint] of refused) {
	test(`refused: berth ${args.join(' ')}`, async () => {
		const { status, err } = await berth(args);
		assert.match(err, complaint);
		assert.equal(status, 1);
		assert.ok(oneLine(err), err);
	});
}

test('control characters do not reach the terminal', async () => {
	const { err } = await berth(['\x1b[2Jx']);
	assert.doesNotMatch(err, /\x1b/);
});

test('status and down without an appliance', async (t) => {
	const env = { BERTH_STATE: scratch(t) };
	const status = await berth(['status', '--json'], { env });
	assert.equal(status.status, 1);
	assert.equal(JSON.parse(status.out).up, 'no');
	const down = await berth(['down', '--json'], { env });
	assert.equal(down.status, 0);
	assert.equal(JSON.parse(down.out).was_up, false);
});

test('version', async () => {
	const { out } = await berth(['version']);
	assert.match(out, /^berth \d+\.\d+/);
	assert.equal((await berth(['--version'])).out, out);
	assert.equal(`berth ${JSON.parse((await berth(['version', '--json'])).out).version}\n`, out);
});

test('doctor: a line for each thing, and JSON that agrees', async (t) => {
	const env = { BERTH_STATE: scratch(t) };
	const lines = (await berth(['doctor'], { env })).out.trimEnd().split('\n');
	const { status, out } = await berth(['doctor', '--json'], { env });
	const report = JSON.parse(out);
	assert.equal(report.ok, false, 'there is no image');
	assert.equal(status, 1);
	assert.equal(lines.length, report.checks.length + 1);
	for (const [i, check] of report.checks.entries()) {
		assert.match(lines[i], /^(ok   |warn |FAIL ) \S/);
		assert.ok(check.result === 'ok' || check.detail, check.name);
		assert.ok(check.result === 'ok' || check.hint, check.name);
	}
	for (const name of ['namespaces', 'tun', 'nftables', 'qemu', 'kvm', 'cgroups', 'memory', 'disk', 'image', 'clock'])
		assert.ok(report.checks.some((c) => c.name === name), name);
	assert.equal(report.checks.find((c) => c.name === 'image').result, 'fail');
});

test('doctor finds a damaged image', async (t) => {
	const state = scratch(t), dir = path.join(state, 'images/0123456789abcdef');
	fs.mkdirSync(dir, { recursive: true });
	const digests = {};
	for (const name of ['vmlinuz', 'initrd.img', 'rootfs.erofs']) {
		fs.writeFileSync(path.join(dir, name), name);
		digests[name] = execFileSync('sha256sum', [path.join(dir, name)]).toString().slice(0, 64);
	}
	fs.writeFileSync(path.join(dir, 'manifest.json'), JSON.stringify({ id: '0123456789abcdef', digests }));
	const image = async () => JSON.parse((await berth(['doctor', '--json'], { env: { BERTH_STATE: state } })).out)
		.checks.find((c) => c.name === 'image');
	assert.equal((await image()).result, 'ok');
	fs.appendFileSync(path.join(dir, 'rootfs.erofs'), 'x');
	const found = await image();
	assert.equal(found.result, 'fail');
	assert.match(found.detail, /rootfs\.erofs is damaged/);
});

// Asks bash what it would offer at the end of a line.
function complete(t, script, line) {
	const bin = scratch(t);
	fs.symlinkSync(berthPath, path.join(bin, 'berth'));
	const words = line.split(' ');
	const ask = `source ${script}; COMP_WORDS=(${words.map((w) => `'${w}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_berth; printf '%s\\n' "\${COMPREPLY[@]}"`;
	const r = spawnSync('bash', ['-c', ask], { env: { ...process.env, PATH: `${bin}:${process.env.PATH}` }, encoding: 'utf8' });
	assert.equal(r.stderr, '');
	return r.stdout.trim().split('\n');
}

test('completion: bash offers verbs, options and words', async (t) => {
	const dir = scratch(t), script = path.join(dir, 'berth.bash');
	fs.writeFileSync(script, (await berth(['completion', 'bash'])).out);
	const verbs = complete(t, script, 'berth ');
	for (const verb of promised)
		assert.ok(verbs.includes(verb.split(' ')[0]), verb);
	assert.deepEqual(complete(t, script, 'berth tok'), ['token']);
	assert.deepEqual(complete(t, script, 'berth token '), ['create', 'ls', 'revoke']);
	assert.deepEqual(complete(t, script, 'berth token create --ro'), ['--role']);
	assert.deepEqual(complete(t, script, 'berth token create --role '), ['admin', 'agent', 'viewer']);
	assert.deepEqual(complete(t, script, 'berth policy demo ').slice(0, 7), ['show', 'allow', 'deny', 'remove', 'mode', 'limit', 'log']);
	assert.deepEqual(complete(t, script, 'berth --json policy demo a'), ['allow']);
	assert.deepEqual(complete(t, script, 'berth completion '), ['bash', 'zsh', 'fish']);
	assert.deepEqual(complete(t, script, `berth screenshot demo ${dir}/ber`), [script]);
});

for (const shell of ['bash', 'zsh', 'fish']) {
	test(`completion: ${shell} reads its script`, async (t) => {
		const { status, out } = await berth(['completion', shell]);
		assert.equal(status, 0);
		for (const verb of promised)
			assert.ok(out.includes(verb.split(' ').at(-1)), verb);
		if (spawnSync(shell, ['--version']).error)
			return t.diagnostic(`${shell} is not installed: the script is only looked at`);
		const file = path.join(scratch(t), 'script');
		fs.writeFileSync(file, out);
		const r = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
		assert.equal(r.status, 0, r.stderr);
	});
}

test('manual pages have no mistakes in them', async (t) => {
	const dir = scratch(t), pages = fs.readdirSync(path.join(top, 'docs/man')).map((f) => path.join(top, 'docs/man', f));
	const made = path.join(dir, 'berth.1');
	fs.writeFileSync(made, (await berth(['help', '--man'])).out);
	assert.ok(pages.length >= 4);
	for (const page of [made, ...pages]) {
		const r = spawnSync('man', ['--warnings', '-l', page], { encoding: 'utf8', env: { ...process.env, MANPAGER: 'cat', LC_ALL: 'C.UTF-8' } });
		if (r.error)
			return t.skip('man is not installed');
		assert.equal(r.stderr, '', page);
		assert.ok(r.stdout.length > 500, page);
	}
	const text = spawnSync('man', ['-l', made], { encoding: 'utf8', env: { ...process.env, MANPAGER: 'cat', MANWIDTH: '200' } }).stdout;
	for (const verb of promised)
		assert.ok(text.includes(`berth ${verb}`), verb);
});

test('berth.conf(5) names every key, and its default', async () => {
	const page = fs.readFileSync(path.join(top, 'docs/man/berth.conf.5'), 'utf8');
	const { out } = await berth(['help', '--conf']);
	let keys = 0;
	for (const [, key, value] of out.matchAll(/^[#; ]*([a-z_]+) *= *(.*)$/gm)) {
		keys++;
		assert.match(page, new RegExp(`^\\.BR ${key} " \\(${value.trim() || 'empty'}`, 'm'), key);
	}
	assert.ok(keys >= 10);
	assert.equal([...page.matchAll(/^\.BR [a-z_]+ " \(/gm)].length, keys, 'the page names a key that is no more');
});
