// MCP: the official client and raw requests of every revision, on a real Chromium.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { noChromium } from '../gateway/chromium.mjs';
import { Stage, servePages } from './recorder.mjs';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));

const PATH = '/v1/agents/demo/mcp', OLD = ['2025-03-26', '2025-06-18', '2025-11-25'], NEW = '2026-07-28';
const NAMES = ['browser_navigate', 'browser_navigate_back', 'browser_snapshot', 'browser_click', 'browser_type', 'browser_fill_form',
  'browser_press_key', 'browser_select_option', 'browser_hover', 'browser_drag', 'browser_file_upload', 'browser_handle_dialog',
  'browser_take_screenshot', 'browser_tabs', 'browser_wait_for', 'browser_evaluate', 'browser_resize', 'browser_close', 'computer'];

const events = '<script>const log=[];for(const k of["mousedown","click","dblclick","auxclick","keydown","input","change","drop"])' +
  'addEventListener(k,(e)=>log.push(k+":"+(e.target.id||e.target.name)+":"+e.isTrusted),true)</script>';
const pages = {
  '/': `<title>Sign in</title><h1>Welcome</h1><form action=/in><label>Name <input name=user></label><label>Password <input type=password name=pw></label>
<label><input type=checkbox name=keep> Keep me</label><label><input type=radio name=r value=1> First</label><label><input type=radio name=r value=2> Second</label>
<select name=lang aria-label=Language><option>English<option value=de>German</select><select multiple name=many aria-label=Many><option>a<option>b<option>c</select>
<input type=date name=day aria-label=Day><input type=range name=loud aria-label=Loud max=10><button>Sign in</button></form>${events}`,
  '/in': '<title>In</title><h1 id=h></h1><script>h.textContent=location.search</script>',
  '/things': `<title>Things</title><style>#low{position:absolute;top:3000px}#veil{position:absolute;left:0;top:300px;width:300px;height:100px}#under{position:absolute;left:10px;top:310px}</style>
<button id=ask onclick="this.textContent='said '+confirm('Sure?')">Ask</button><button id=name onclick="this.textContent='I am '+prompt('Who?','x')">Name</button><button id=twice>Twice</button>
<button id=low>Low</button><button id=under>Under</button><div id=veil></div><button hidden id=no>Hidden</button><button id=gone onclick="this.remove()">Gone</button>
<div id=from draggable=true style="width:50px;height:50px">from</div><div id=to style="width:50px;height:50px" ondragover="event.preventDefault()" ondrop="this.textContent='dropped'">to</div>
<input type=file id=file aria-label=File><button id=late onclick="setTimeout(()=>document.body.append('It is THERE  now'),300)">Late</button>
<iframe src=/inner title=inner></iframe><a href=/in target=_blank>Tab</a>${events}`,
  '/inner': '<title>Inner</title><div style="height:200px"></div><button onclick="this.textContent=\'inner \'+event.isTrusted">Inner</button>',
  '/large': `<title>Large</title>${'<p>A paragraph of some words.</p>'.repeat(3000)}`,
  '/deep': `<title>Deep</title>${'<div>'.repeat(3000)}end`,
};

describe('MCP', { skip: noChromium }, () => {
  const stage = new Stage();
  let w, url, id = 0;

  const post = (json, headers = {}) => w.request('POST', PATH, { json, headers });
  const rpc = (method, params, version = '2025-11-25') => post({ jsonrpc: '2.0', id: ++id, method, params }, version ? { 'mcp-protocol-version': version } : {});
  const modern = (method, params = {}, { headers = {}, meta = {} } = {}) => post({ jsonrpc: '2.0', id: ++id, method,
    params: { ...params, _meta: { 'io.modelcontextprotocol/protocolVersion': NEW, 'io.modelcontextprotocol/clientCapabilities': {}, ...meta } } },
  { 'mcp-protocol-version': NEW, 'mcp-method': method, ...(params.name ? { 'mcp-name': params.name } : {}), ...headers });
  const call = async (name, args = {}) => {
    const r = await rpc('tools/call', { name, arguments: args });
    assert.equal(r.status, 200, r.text);
    assert.ok(r.json.result, r.text);
    return { ...r.json.result, text: r.json.result.content.filter((c) => c.type === 'text').map((c) => c.text).join('\n') };
  };
  const done = async (name, args) => {
    const r = await call(name, args);
    assert.equal(r.isError, false, r.text);
    return r.text;
  };
  const fails = async (name, args) => {
    const r = await call(name, args);
    assert.equal(r.isError, true, r.text);
    return r.text;
  };
  const ref = (text, what) => {
    const m = text.match(new RegExp(`^ *- ${what}.*?\\[ref=(e\\d+)\\]`, 'm'));
    assert.ok(m, `no ${what} in\n${text}`);
    return m[1];
  };
  const js = async (text) => (await done('browser_evaluate', { function: `() => ${text}` })).match(/### Result\n([^]*?)\n### Page/)[1];
  const log = async () => JSON.parse(await js('log.splice(0)'));

  before(async () => {
    ({ w, site: { url } } = await stage.start(servePages(pages)));
  });
  after(() => stage.stop());

  describe('protocol', () => {
    test('the official client lists the tools and calls them', async () => {
      const { Client } = await load('client/index.js'), { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
      const client = new Client({ name: 'test', version: '1' });
      await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${w.port}${PATH}`),
        { requestInit: { headers: { authorization: 'Bearer admin-token' } } }));
      assert.equal(client.getServerVersion().name, 'berth');
      assert.deepEqual((await client.listTools()).tools.map((t) => t.name), NAMES);
      const r = await client.callTool({ name: 'browser_navigate', arguments: { url } });
      assert.match(r.content[0].text, /Page Title: Sign in[^]*- heading "Welcome" \[level=1\] \[ref=e\d+\]/);
      const shot = await client.callTool({ name: 'browser_take_screenshot', arguments: {} });
      assert.equal(shot.content.find((c) => c.type === 'image').mimeType, 'image/png');
      await client.ping();
      await client.close();
    });

    test('revisions that begin with initialize', async () => {
      for (const v of OLD) {
        const r = await rpc('initialize', { protocolVersion: v, capabilities: {}, clientInfo: { name: 't', version: '1' } }, null);
        assert.deepEqual([r.status, r.json.result.protocolVersion, r.json.result.capabilities], [200, v, { tools: {} }]);
        const n = await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, { 'mcp-protocol-version': v });
        assert.deepEqual([n.status, n.text], [202, '']);
        assert.equal((await rpc('tools/list', {}, v)).json.result.tools.length, NAMES.length);
        assert.deepEqual((await rpc('ping', undefined, v)).json.result, {});
        const none = await rpc('nothing/here', {}, v);
        assert.deepEqual([none.status, none.json.error.code], [200, -32601]);
      }
      assert.equal((await rpc('initialize', { protocolVersion: '1999-01-01' }, null)).json.result.protocolVersion, '2025-11-25');
      for (const method of ['GET', 'DELETE']) assert.equal((await w.request(method, PATH)).status, 405);
    });

    test('lists of messages are of one revision only', async () => {
      const list = [{ jsonrpc: '2.0', id: 1, method: 'ping' }, { jsonrpc: '2.0', method: 'notifications/x' },
        { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'browser_evaluate', arguments: { function: '6 * 7' } } }, 5];
      const r = await post(list, { 'mcp-protocol-version': '2025-03-26' });
      assert.deepEqual(r.json.map((m) => m.id), [1, 2, null]);
      assert.match(r.json[1].result.content[0].text, /42/);
      assert.equal((await post(list, { 'mcp-protocol-version': '2025-06-18' })).status, 400);
      assert.equal((await post([])).status, 400);
    });

    test('2026-07-28 needs no beginning', async () => {
      const d = await modern('server/discover');
      assert.equal(d.status, 200);
      assert.deepEqual([d.json.result.resultType, d.json.result.supportedVersions], ['complete', [NEW, ...OLD.toReversed?.() ?? [...OLD].reverse()]]);
      const l = await modern('tools/list');
      assert.deepEqual([l.json.result.resultType, typeof l.json.result.ttlMs, l.json.result.cacheScope], ['complete', 'number', 'public']);
      assert.deepEqual(l.json.result.tools.map((t) => t.name), NAMES);
      const c = await modern('tools/call', { name: 'browser_tabs', arguments: { action: 'list' } });
      assert.deepEqual([c.status, c.json.result.resultType, c.json.result.isError], [200, 'complete', false]);
      for (const method of ['initialize', 'ping', 'nothing/here']) {
        const r = await modern(method);
        assert.deepEqual([r.status, r.json.error.code], [404, -32601], method);
      }
    });

    test('headers and body must agree', async () => {
      const refused = async (r, code) => { const a = await r; assert.deepEqual([a.status, a.json.error?.code], [400, code], a.text); return a.json.error; };
      await refused(modern('tools/list', {}, { headers: { 'mcp-method': 'tools/call' } }), -32020);
      await refused(modern('tools/list', {}, { headers: { 'mcp-method': '' } }), -32020);
      await refused(modern('tools/call', { name: 'computer', arguments: {} }, { headers: { 'mcp-name': 'browser_tabs' } }), -32020);
      await refused(modern('tools/list', {}, { headers: { 'mcp-protocol-version': '2025-11-25' } }), -32020);
      await refused(modern('tools/list', {}, { meta: { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' } }), -32020);
      const e = await refused(modern('tools/list', {}, { headers: { 'mcp-protocol-version': '2031-01-01' } }), -32022);
      assert.deepEqual(e.data, { supported: [NEW, '2025-11-25', '2025-06-18', '2025-03-26'], requested: '2031-01-01' });
      await refused(modern('tools/list', {}, { meta: { 'io.modelcontextprotocol/clientCapabilities': null } }), -32602);
    });

    test('what is no message is refused', async () => {
      for (const [body, code] of [['{', -32700], ['', -32700], ['"x"', -32700], ['{"jsonrpc":"2.0","id":1}', -32600], ['{"id":1,"method":"ping"}', -32600],
        ['{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600], ['{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600],
        ['['.repeat(100000), -32700]]) {
        const r = await w.request('POST', PATH, { body, headers: { 'content-type': 'application/json' } });
        assert.deepEqual([r.status, r.json.error.code], [400, code], body.slice(0, 50));
      }
      assert.equal((await w.request('POST', PATH, { body: ' '.repeat((1 << 20) + 1) })).status, 413);
      const none = await rpc('tools/call', { name: 'browser_fly' });
      assert.equal(none.json.error.code, -32602);
      assert.equal((await w.request('POST', PATH, { token: 'viewer-token', json: {} })).status, 403);
      assert.equal((await post({}, { origin: 'http://evil.test' })).status, 403);
    });

    test('wrong arguments are told to the model', async () => {
      assert.match(await fails('browser_click', {}), /ref is missing/);
      assert.match(await fails('browser_click', { ref: 'x' }), /ref must be a ref of the snapshot/);
      assert.match(await fails('browser_click', { ref: 'e1', button: 'up' }), /button must be one of: left right middle/);
      assert.match(await fails('browser_click', { ref: 'e1', speed: 1 }), /"speed" is no argument of it/);
      assert.match(await fails('browser_wait_for', {}), /is wanted/);
      assert.match(await fails('browser_navigate', { url: 'file:///etc/passwd' }), /can be opened/);
      assert.match(await fails('browser_fill_form', { fields: [{ type: 'checkbox', ref: 'e1', value: 'maybe' }] }), /must be true or false/);
      assert.match(await fails('browser_resize', { width: 1.5, height: 300 }), /whole number/);
    });
  });

  describe('over all agents', () => {
    const ALL = '/v1/mcp', LIFE = { viewer: ['agents_list', 'agent_show', 'agent_snapshots', 'policy_show'],
      agent: ['agent_start', 'agent_stop', 'agent_restart', 'agent_suspend', 'agent_resume'],
      admin: ['agent_create', 'agent_snapshot', 'agent_restore', 'agent_fork', 'agent_remove', 'policy_change'] };
    const ask = (token, method, params) => w.request('POST', ALL, { token, json: { jsonrpc: '2.0', id: ++id, method, params }, headers: { 'mcp-protocol-version': '2025-11-25' } });
    const use = async (name, args, token = 'admin-token') => {
      const r = await ask(token, 'tools/call', { name, arguments: args });
      assert.equal(r.status, 200, r.text);
      assert.ok(r.json.result, r.text);
      return { failed: r.json.result.isError, text: r.json.result.content.map((c) => c.text ?? '').join('\n') };
    };

    test('the list is what the token may call', async () => {
      const names = async (token) => (await ask(token, 'tools/list')).json.result.tools.map((t) => t.name).sort();
      assert.deepEqual(await names('viewer-token'), [...LIFE.viewer].sort());
      assert.deepEqual(await names('agent-token'), [...LIFE.viewer, ...LIFE.agent, ...NAMES].sort());
      assert.deepEqual(await names('admin-token'), [...LIFE.viewer, ...LIFE.agent, ...LIFE.admin, ...NAMES].sort());
      const click = (await ask('admin-token', 'tools/list')).json.result.tools.find((t) => t.name === 'browser_click');
      assert.deepEqual(click.inputSchema.required.sort(), ['agent', 'ref']);
      assert.equal(click.inputSchema.properties.agent.type, 'string');
      assert.equal((await w.request('POST', ALL, { token: null, json: {} })).status, 401);
    });

    test('a browser by its agent\'s name', async () => {
      const r = await use('browser_navigate', { agent: 'demo', url });
      assert.equal(r.failed, false, r.text);
      const field = ref(r.text, 'textbox "Name"');
      assert.match((await use('browser_type', { agent: 'demo', ref: field, text: 'Ada' })).text, /textbox "Name".*: Ada/);
      assert.match((await use('browser_navigate', { url })).text, /agent must be an agent's name/);
      assert.match((await use('browser_click', { agent: 'demo', ref: 'x' })).text, /ref must be a ref/);
      assert.match((await use('browser_navigate', { agent: 'nobody', url })).text, /there is no such agent/);
    });

    test('the life of an agent is berthd\'s, in the API\'s own bounds', async () => {
      assert.deepEqual(JSON.parse((await use('agent_create', { name: 'new', memory_mib: 512, allow: ['example.com'] })).text),
        { op: 'agent.create', args: { name: 'new', memory_mib: 512, allow: ['example.com'] }, by: 'tok_admin-token' });
      assert.deepEqual(JSON.parse((await use('agent_fork', { agent: 'demo', count: 3 })).text), { op: 'agent.fork', args: { count: 3, agent: 'demo' }, by: 'tok_admin-token' });
      assert.match((await use('agents_list', {})).text, /"name":\s*"demo"/);
      for (const [tool, args, why] of [['agent_create', {}, /'name'/], ['agent_create', { name: 'n', memory_mib: 1 }, /memory_mib/], ['agent_fork', { agent: 'demo', count: 0 }, /count/],
        ['agent_suspend', { agent: 'demo', force: true }, /force/], ['agent_show', {}, /agent must be/], ['agent_show', { agent: 7 }, /agent must be/], ['agent_show', { agent: 'ag_demo' }, /agent must be/], ['agent_show', { agent: 'a'.repeat(100) }, /agent must be/]]) {
        const r = await use(tool, args);
        assert.ok(r.failed, `${tool} ${JSON.stringify(args)}: ${r.text}`);
        assert.match(r.text, why);
      }
    });

    test('a token does what its role does, for its agent', async () => {
      for (const [tool, args, token, why] of [['agent_create', { name: 'n' }, 'agent-token', /role admin/], ['agent_remove', { agent: 'demo' }, 'agent-token', /role admin/],
        ['browser_click', { agent: 'demo', ref: 'e1' }, 'viewer-token', /role agent/], ['agent_stop', { agent: 'demo' }, 'viewer-token', /role agent/],
        ['agent_show', { agent: 'other' }, 'agent-token', /for the agent demo only/], ['browser_snapshot', { agent: 'other' }, 'agent-token', /for the agent demo only/]]) {
        const r = await use(tool, args, token);
        assert.ok(r.failed, `${tool} ${token}`);
        assert.match(r.text, why);
      }
      assert.equal(JSON.parse((await use('agents_list', {}, 'agent-token')).text).agents.every((a) => a.name === 'demo'), true);
      assert.equal((await ask('agent-token', 'tools/call', { name: 'nothing', arguments: {} })).json.error.code, -32602);
    });
  });

  describe('tools', () => {
    test('a form is filled and sent by refs, with trusted events', async () => {
      const t = await done('browser_navigate', { url });
      await done('browser_type', { element: 'the name', ref: ref(t, 'textbox "Name"'), text: 'Somebody else' });
      const filled = await done('browser_fill_form', { fields: [
        { name: 'name', type: 'textbox', ref: ref(t, 'textbox "Name"'), value: 'Ada L' }, { name: 'pw', type: 'textbox', ref: ref(t, 'textbox "Password"'), value: 'secret' },
        { name: 'keep', type: 'checkbox', ref: ref(t, 'checkbox "Keep me"'), value: 'true' }, { name: 'r', type: 'radio', ref: ref(t, 'radio "Second"'), value: 'true' },
        { name: 'lang', type: 'combobox', ref: ref(t, 'combobox "Language"'), value: 'German' }, { name: 'day', type: 'textbox', ref: ref(t, 'textbox "Day"'), value: '2026-10-01' },
        { name: 'loud', type: 'slider', ref: ref(t, 'slider "Loud"'), value: '7' }] });
      assert.match(filled, /textbox "Name" \[ref=e\d+\]: Ada L\n/);
      assert.match(filled, /checkbox "Keep me" \[checked\]/);
      await done('browser_fill_form', { fields: [{ type: 'checkbox', ref: ref(t, 'checkbox "Keep me"'), value: 'true' }] });
      await done('browser_select_option', { ref: ref(t, 'listbox "Many"'), values: ['a', 'c'] });
      assert.match(await fails('browser_select_option', { ref: ref(t, 'combobox "Language"'), values: ['Klingon'] }), /has no option "Klingon"/);
      const seen = await log();
      assert.ok(seen.includes('click:keep:true') && seen.includes('input:user:true') && seen.includes('change:lang:false'), seen.join());
      const sent = await done('browser_click', { ref: ref(filled, 'button "Sign in"') });
      assert.match(sent, /user=Ada\+L&pw=secret&keep=on&r=2&lang=de&many=a&many=c&day=2026-10-01&loud=7/);
      assert.match(sent, /Page Title: In\n/);
      assert.match(await fails('browser_click', { ref: ref(t, 'textbox "Name"') }), /is no longer on the page. Take a new browser_snapshot/);
      assert.match(await done('browser_navigate_back'), /Page Title: Sign in/);
    });

    test('clicks go where the element is, and nowhere else', async () => {
      const t = await done('browser_navigate', { url: `${url}/things` });
      await log();
      await done('browser_click', { ref: ref(t, 'button "Low"') });
      assert.deepEqual(await log(), ['mousedown:low:true', 'click:low:true']);
      await done('browser_click', { ref: ref(t, 'button "Twice"'), doubleClick: true, modifiers: ['Shift'] });
      assert.ok((await log()).includes('dblclick:twice:true'));
      await done('browser_click', { ref: ref(t, 'button "Twice"'), button: 'middle' });
      assert.ok((await log()).includes('auxclick:twice:true'));
      assert.match(await fails('browser_click', { ref: ref(t, 'button "Under"') }), /is covered by <div id=veil>/);
      assert.deepEqual(await log(), []);
      assert.doesNotMatch(t, /Hidden/);
      const once = await done('browser_click', { ref: ref(t, 'button "Gone"') });
      assert.doesNotMatch(once, /button "Gone"/);
      assert.match(await fails('browser_click', { ref: ref(t, 'button "Gone"') }), /no longer on the page/);
      assert.match(await done('browser_click', { ref: ref(t, 'button "Inner"') }), /button "inner true"/);
    });

    test('refs stay while the page does, and a snapshot that says nothing new is not repeated', async () => {
      const a = await done('browser_navigate', { url: `${url}/things` }), b = await done('browser_snapshot');
      assert.equal(ref(a, 'button "Ask"'), ref(b, 'button "Ask"'));
      assert.match(await done('browser_hover', { ref: ref(a, 'button "Ask"') }), /As it was before/);
      const c = await done('browser_navigate', { url: `${url}/things` });
      assert.notEqual(ref(a, 'button "Ask"'), ref(c, 'button "Ask"'));
    });

    test('drag and drop', async () => {
      const t = await done('browser_navigate', { url: `${url}/things` });
      assert.match(await done('browser_drag', { startElement: 'from', startRef: ref(t, 'group'), endElement: 'to', endRef: t.match(/text \[ref=(e\d+)\]: to\n/)[1] }), /dropped/);
    });

    test('dialogs are told, and answered', async () => {
      const t = await done('browser_navigate', { url: `${url}/things` });
      assert.match(await fails('browser_handle_dialog', { accept: true }), /No dialog is open/);
      assert.match(await done('browser_click', { ref: ref(t, 'button "Ask"') }), /### Modal state\n- \[confirm dialog with the message "Sure\?": browser_handle_dialog/);
      assert.match(await fails('browser_click', { ref: ref(t, 'button "Name"') }), /dialog is open/);
      assert.match(await done('browser_handle_dialog', { accept: true }), /button "said true"/);
      await done('browser_click', { ref: ref(t, 'button "Name"') });
      assert.match(await done('browser_handle_dialog', { accept: true, promptText: 'Ada' }), /button "I am Ada"/);
      assert.match(await done('browser_evaluate', { function: '() => confirm("In it?")' }), /goes on when the dialog is answered/);
      await done('browser_handle_dialog', { accept: false });
    });

    test('files are chosen below Uploads', async () => {
      const t = await done('browser_navigate', { url: `${url}/things` });
      assert.match(await fails('browser_file_upload', { paths: ['a.txt'] }), /No file chooser is open/);
      assert.match(await done('browser_click', { ref: ref(t, 'button "File') }), /browser_file_upload answers it/);
      assert.match(await fails('browser_file_upload', { paths: ['/etc/passwd'] }), /chosen below/);
      const fs = await import('node:fs');
      fs.writeFileSync(path.join(stage.browser.uploads, 'a.txt'), 'a');
      await done('browser_file_upload', { paths: ['a.txt'] });
      assert.equal(await js('file.files[0].name'), '"a.txt"');
    });

    test('tabs', async () => {
      await done('browser_navigate', { url: `${url}/things` });
      const t = await done('browser_snapshot');
      assert.match(await done('browser_click', { ref: ref(t, 'link "Tab"') }), /A new tab is in front[^]*Page URL: .*\/in/);
      assert.match(await done('browser_tabs', { action: 'list' }), /- 0: \[.*\]\(?.*\n- 1: \(current\) \[In\]/);
      assert.match(await done('browser_tabs', { action: 'select', index: 0 }), /- 0: \(current\)/);
      assert.match(await fails('browser_tabs', { action: 'select', index: 7 }), /There is no tab 7/);
      assert.match(await done('browser_tabs', { action: 'new' }), /- 2: \(current\)/);
      const closed = await done('browser_tabs', { action: 'close' });
      assert.doesNotMatch(closed, /- 2:/);
      assert.doesNotMatch(await done('browser_tabs', { action: 'close', index: 1 }), /- 1:/);
    });

    test('waiting, keys, functions, pictures, size', async () => {
      const t = await done('browser_navigate', { url: `${url}/things` });
      await done('browser_click', { ref: ref(t, 'button "Late"') });
      await done('browser_wait_for', { text: 'it is there now' });
      assert.match(await done('browser_snapshot'), /It is THERE now/);
      await done('browser_wait_for', { time: 0.05, textGone: 'nothing of the kind' });
      await log();
      await done('browser_press_key', { key: 'ArrowDown' });
      assert.match((await log()).join(), /keydown/);
      assert.match(await done('browser_evaluate', { function: '(e) => e.id', ref: ref(t, 'button "Twice"') }), /"twice"/);
      assert.match(await fails('browser_evaluate', { function: '() => { throw new Error("no luck") }' }), /no luck/);
      assert.match(await fails('browser_evaluate', { function: '() => {{' }), /SyntaxError/);
      const long = await done('browser_evaluate', { function: '() => "x".repeat(1e6)' });
      assert.ok(long.length < 110000 && /cut: 1000002 characters/.test(long));
      await done('browser_resize', { width: 500, height: 400 });
      const size = (c) => { const b = Buffer.from(c.data, 'base64'); return [b.readUInt32BE(16), b.readUInt32BE(20)]; };
      const image = async (args) => (await call('browser_take_screenshot', args)).content.find((c) => c.type === 'image');
      assert.deepEqual(size(await image({})), [500, 400]);
      assert.ok(size(await image({ fullPage: true }))[1] > 3000);
      assert.ok(size(await image({ ref: ref(t, 'button "Twice"') }))[1] < 100);
      assert.equal((await image({ type: 'jpeg' })).mimeType, 'image/jpeg');
      const c = await call('computer', { action: 'left_click', coordinate: [5, 5] });
      assert.deepEqual(c.content.map((x) => x.type), ['text', 'image']);
      assert.match(await fails('computer', { action: 'left_click', coordinate: [5000, 5] }), /lies outside/);
    });

    test('a page that is too large is cut, and told to be', async () => {
      const t = await done('browser_navigate', { url: `${url}/large` });
      assert.ok(t.length < 51000, `${t.length}`);
      assert.match(t, /- … \(the rest was cut\)\n```/);
      await done('browser_navigate', { url: `${url}/deep` });
    });
  });
});
