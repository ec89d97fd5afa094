// Anthropic's browser toolset: every member on a real Chromium.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Chromium, noChromium } from '../gateway/chromium.mjs';
import { until } from '../gateway/lib.mjs';
import { Stage, pngSize, serve } from './recorder.mjs';

const WIDTH = 800, HEIGHT = 600;
const at = (x, y) => ({ type: 'coordinate', x, y }), by = (ref) => ({ type: 'ref', ref });

for (const scale of [1, 2]) describe(`browser toolset at device scale ${scale}`, { skip: noChromium }, () => {
  const stage = new Stage();
  let w, browser, site, watch, page;

  const post = (json, query = '') => w.request('POST', `/v1/agents/demo/computer${query}`, { json });
  const block = (name, input, id = 't') => ({ type: 'tool_use', id, toolset_name: 'browser', name, input });

  // What the vendor's API takes: one state on what is no error, words alone on what is one.
  function check(r) {
    assert.deepEqual([r.type, r.tool_use_id, r.toolset_name], ['tool_result', 't', 'browser'], JSON.stringify(r).slice(0, 500));
    const states = r.content.filter((c) => c.type === 'browser_state');
    if (r.is_error) {
      assert.ok(r.content.length && r.content.every((c) => c.type === 'text' && c.text), JSON.stringify(r.content));
      return;
    }
    assert.equal(states.length, 1);
    assert.equal(r.content.at(-1), states[0]);
    const { tabs, state_changes: changes } = states[0];
    assert.equal(tabs.filter((t) => t.active === true).length, tabs.length ? 1 : 0);
    assert.equal(new Set(tabs.map((t) => t.tab_id)).size, tabs.length);
    for (const t of tabs) assert.deepEqual([typeof t.tab_id, typeof t.title, typeof t.url, t.active ?? true], ['string', 'string', 'string', true]);
    if (changes) assert.ok(changes.length > 0);
    for (const c of changes ?? []) assert.ok(c.type !== 'tab_opened' || tabs.some((t) => t.tab_id === c.tab_id));
  }
  const call = async (name, input = {}, query = '') => {
    const r = (await post(block(name, input), query)).json;
    check(r);
    return { ...r, text: r.content.filter((c) => c.type === 'text').map((c) => c.text).join('|'),
      image: r.content.find((c) => c.type === 'image')?.source.data, state: r.content.find((c) => c.type === 'browser_state') };
  };
  const result = async (...args) => {
    const r = await call(...args);
    assert.equal(r.is_error, false, r.text);
    return r;
  };
  const done = async (...args) => (await result(...args)).text;
  const fails = async (...args) => {
    const r = await call(...args);
    assert.equal(r.is_error, true, r.text);
    return r.text;
  };
  const active = (r) => r.state.tabs.find((t) => t.active);
  const ref = (text, what) => {
    const m = text.match(new RegExp(`^ *- ${what}.*?\\[(ref_\\d+)\\]`, 'm'));
    assert.ok(m, `no ${what} in\n${text}`);
    return m[1];
  };
  const value = (expression) => watch.eval(page, expression);
  const log = async (...kinds) => {
    const all = JSON.parse(await value('JSON.stringify(log.splice(0))'));
    for (const e of all) assert.ok(e[1] || /^(change|input)$/.test(e[0]), `${e[0]} is not trusted`);
    return all.filter((e) => kinds.includes(e[0])).map(([kind, , ...rest]) => [kind, ...rest]);
  };
  const move = (x, y) => ['mousemove', x, y, 0, 0, 0, 0];
  const press = (x, y, detail = 1, mods = 0) => [['mousedown', x, y, 0, 1, detail, mods], ['mouseup', x, y, 0, 0, detail, mods], ['click', x, y, 0, 0, detail, mods]];

  async function open(name = '/') {
    const r = await result('navigate', { url: site.url + name });
    page = await stage.look(site.url + name, WIDTH, HEIGHT);
    await until('the page', () => value('document.readyState === "complete"'));
    return r;
  }

  before(async () => {
    ({ w, browser, site, watch } = await stage.start(serve(), { flags: [`--force-device-scale-factor=${scale}`, '--site-per-process'] }));
  });
  after(() => stage.stop());

  describe('pages', () => {
    test('navigate tells where it led', async () => {
      assert.equal(await done('navigate', { url: `${site.url}/two` }), `Navigated to ${site.url}/two — Two (HTTP 200)`);
      const gone = await result('navigate', { url: `${site.url}/gone` });
      assert.equal(gone.text, `Navigated to ${site.url}/gone — Gone (HTTP 404)`);
      assert.deepEqual([active(gone).url, active(gone).title], [`${site.url}/gone`, 'Gone']);
      assert.match(await done('navigate', { url: 'back' }), /^Navigated to .*\/two — Two/);
      assert.match(await done('navigate', { url: ' Forward' }), /^Navigated to .*\/gone — Gone/);
      await open('/form');
      await value('window.marker = 1');
      assert.equal(await done('navigate', { url: 'reload' }), `Navigated to ${site.url}/form — Form (HTTP 200)`);
      assert.equal(await value('typeof marker'), 'undefined');
      assert.match(await fails('navigate', { url: 'file:///etc/passwd' }), /can be opened/);
      assert.match(await fails('navigate', { url: 'http://127.0.0.1:1/' }), /could not be opened/);
      assert.match(await fails('navigate', {}), /url is missing/);
    });

    test('read_page tells what is in view, what can be used, all, and parts', async () => {
      await open('/form');
      const seen = await done('read_page');
      assert.match(seen, /- heading "Order" \[level=1\] \[ref_\d+\]\n/);
      assert.match(seen, /- textbox "Name" \[ref_\d+\]\n/);
      assert.match(seen, /- iframe "inner".*\n( +- .*\n)*? +- combobox/);
      assert.doesNotMatch(seen, /"Low"|\[ref=/);
      const all = await done('read_page', { filter: 'all' });
      assert.match(all, /- button "Low" \[ref_\d+\]\n/);
      assert.equal(ref(all, 'textbox "Name"'), ref(seen, 'textbox "Name"'));
      const used = await done('read_page', { filter: 'interactive' });
      assert.doesNotMatch(used, /heading|Low/);
      assert.match(used, /- button "Add to cart"/);
      const list = await done('read_page', { ref: ref(seen, 'combobox "Language"') });
      assert.match(list, /^- combobox "Language"[^]*- option "German"/);
      assert.doesNotMatch(list, /Order/);
      assert.doesNotMatch(await done('read_page', { ref: ref(seen, 'combobox "Language"'), depth: 1 }), /option/);
      await value('scrollTo(0, document.body.scrollHeight)');
      const low = await done('read_page');
      assert.match(low, /- button "Low"/);
      assert.doesNotMatch(low, /Order/);
      await value('low.remove()');
      assert.match(await fails('left_click', { target: by(ref(all, 'button "Low"')) }), /^ref_\d+ is no longer on the page\. Use read_page or find/);
      assert.match(await fails('read_page', { ref: ref(all, 'button "Low"') }), /no longer on the page/);
      assert.match(await fails('read_page', { ref: 'ref_999999' }), /ref_999999 is no longer/);
      assert.match(await fails('read_page', { depth: 0 }), /depth is 0; it must be from 1 to 100/);
    });

    test('read_page has an end', async () => {
      await open('/long');
      const all = await done('read_page', { filter: 'all' });
      assert.ok(all.length < 50200 && /the rest was cut/.test(all), `${all.length}`);
      assert.ok((await done('read_page')).length < 5000);
      const p = await done('read_page', { filter: 'all', depth: 1 });
      assert.ok(p.length < 50200);
    });

    test('get_page_text prefers the article', async () => {
      await open('/article');
      const text = await done('get_page_text');
      assert.match(text, /^News\n\nThe story goes on\. The story/);
      assert.doesNotMatch(text, /Imprint|Menu/);
      await open('/two');
      assert.equal(await done('get_page_text'), 'two');
      await value('document.body.textContent = ""');
      assert.equal(await done('get_page_text'), '(empty)');
      await open('/long');
      assert.match(await done('get_page_text'), /^A paragraph[^]*\(cut: \d+ characters in all\)$/);
    });

    test('find goes by words', async () => {
      await open('/form');
      const cart = await done('find', { query: 'add to cart button' });
      assert.match(cart, /^- button "Add to cart" \[ref_\d+\]\n/);
      assert.match(await done('find', { query: 'low' }), /^- button "Low" \[ref_\d+\]\n/);
      assert.match(await done('find', { query: 'language dropdown' }), /^- combobox "Language" \[ref_\d+\]: English\n/);
      assert.ok((await done('find', { query: 'fields' })).trim().split('\n').length <= 20);
      assert.match(await done('find', { query: 'unicorn' }), /Nothing on the page/);
      await log();
      assert.equal(await done('left_click', { target: by(ref(cart, 'button "Add to cart"')) }), 'Clicked.');
      assert.equal((await log('click')).length, 1);
      assert.match(await fails('find', { query: '' }), /query has 0 bytes/);
    });

    test('form_input sets each kind of field', async () => {
      await open('/form');
      const t = await done('read_page', { filter: 'all' });
      const set = async (what, v) => {
        const r = ref(t, what);
        assert.equal(await done('form_input', { target: by(r), value: v }), `Set the value of ${r}.`);
      };
      const refuses = (what, v) => fails('form_input', { target: by(ref(t, what)), value: v });
      await set('textbox "Name"', 'Ada');
      await set('textbox "Name"', 'Ada Ł');
      assert.equal(await value('user.value'), 'Ada Ł');
      await set('checkbox "Keep me"', true);
      await set('checkbox "Keep me"', true);
      assert.equal(await value('keep.checked'), true);
      await set('checkbox "Keep me"', false);
      assert.equal(await value('keep.checked'), false);
      await set('radio "Second"', true);
      assert.equal(await value('two.checked'), true);
      assert.match(await refuses('radio "Second"', false), /cannot be switched off/);
      await set('combobox "Language"', 'German');
      assert.equal(await value('lang.value'), 'de');
      assert.match(await refuses('combobox "Language"', 'Klingon'), /has no option "Klingon"/);
      await set('textbox "Day"', '2026-10-01');
      assert.equal(await value('day.value'), '2026-10-01');
      await set('spinbutton "Count"', 42);
      assert.equal(await value('count.value'), '42');
      await set('textbox "Note"', 'a\nb');
      assert.equal(await value('note.value'), 'a\nb');
      await set('textbox "Rich"', 'new');
      assert.equal(await value('rich.textContent'), 'new');
      await set('switch "Dark"', true);
      assert.equal(await value('dark.getAttribute("aria-checked")'), 'true');
      assert.match(await refuses('textbox "Fixed"', 'y'), /cannot be changed/);
      assert.match(await refuses('checkbox "Keep me"', 'maybe'), /takes true or false/);
      assert.match(await refuses('button "Close"', 'x'), /is no field/);
      assert.match(await fails('form_input', { target: at(1, 2), value: 'x' }), /target must be \{type: "ref", ref\}/);
    });

    test('scroll_to brings an element into view', async () => {
      await open('/form');
      const r = ref(await done('find', { query: 'Low' }), 'button "Low"');
      assert.equal(await done('scroll_to', { target: by(r) }), `Scrolled to ${r}.`);
      assert.equal(await value('(r => r.top >= 0 && r.bottom <= innerHeight)(low.getBoundingClientRect())'), true);
    });

    test('pictures', async () => {
      await open('/');
      const r = await result('screenshot');
      assert.deepEqual([r.text, pngSize(r.image)], ['', [WIDTH, HEIGHT]]);
      assert.deepEqual(pngSize((await result('zoom', { region: [0, 0, 200, 150] })).image), [WIDTH, HEIGHT]);
      assert.match(await fails('zoom', { region: [0, 0, WIDTH + 1, 10] }), /lies outside/);
      const with_picture = await result('hover', { target: at(5, 5) }, '?screenshot=always');
      assert.deepEqual([with_picture.text, pngSize(with_picture.image)], ['Hovered.', [WIDTH, HEIGHT]]);
      assert.equal((await result('list_tabs', {}, '?screenshot=always')).content.length, 1);
    });
  });

  describe('mouse and keyboard', () => {
    beforeEach(async () => {
      await open('/');
      await done('mouse_move', { target: at(700, 500) });
      await log();
    });
    const MOUSE = ['mousemove', 'mousedown', 'mouseup', 'click', 'dblclick', 'auxclick', 'contextmenu'];

    test('clicks at a place, exactly, and by reference', async () => {
      assert.equal(await done('left_click', { target: at(713, 459) }), 'Clicked.');
      assert.deepEqual(await log(...MOUSE), [move(713, 459), ...press(713, 459)]);
      assert.equal(await done('double_click', { target: at(713, 459) }), 'Double-clicked.');
      assert.deepEqual((await log('click', 'dblclick')).map((e) => [e[0], e[5]]), [['click', 1], ['click', 2], ['dblclick', 2]]);
      assert.equal(await done('triple_click', { target: at(713, 459), modifiers: 'shift' }), 'Triple-clicked.');
      assert.deepEqual((await log('click')).map((e) => e.slice(5)), [[1, 8], [2, 8], [3, 8]]);
      assert.equal(await done('right_click', { target: at(713, 459) }), 'Right-clicked.');
      assert.deepEqual((await log('contextmenu')).map((e) => e.slice(0, 3)), [['contextmenu', 713, 459]]);
      assert.equal(await done('middle_click', { target: at(713, 459) }), 'Middle-clicked.');
      assert.deepEqual((await log('auxclick')).map((e) => e.slice(0, 4)), [['auxclick', 713, 459, 1]]);
      await done('left_click', { target: by(ref(await done('read_page'), 'button "ask"')) });
      assert.deepEqual((await log('click')).map((e) => e.slice(0, 3)), [['click', 350, 335]]);
      for (const target of [at(WIDTH, 0), at(0, HEIGHT)]) assert.match(await fails('left_click', { target }), /lies outside of the screenshot/);
      assert.match(await fails('left_click', { target: at(1.5, 2) }), /target\.x must be a whole number/);
      assert.match(await fails('left_click', { target: at(-1, 2) }), /target\.x is -1/);
      assert.match(await fails('left_click', {}), /target is missing/);
      assert.deepEqual(await log(...MOUSE), []);
    });

    test('hover, press, move, release, drag', async () => {
      assert.equal(await done('hover', { target: at(100, 35) }), 'Hovered.');
      assert.deepEqual((await log('mousemove')).at(-1), move(100, 35));
      await done('hover', { target: by(ref(await done('read_page'), 'button "ask"')) });
      assert.deepEqual((await log('mousemove')).at(-1), move(350, 335));
      assert.equal(await done('left_mouse_down', { target: at(700, 500) }), 'Mouse button pressed.');
      assert.equal(await done('mouse_move', { target: at(705, 505) }), 'Moved the mouse.');
      assert.equal(await done('left_mouse_up', { target: at(710, 520) }), 'Mouse button released.');
      assert.deepEqual((await log('mousedown', 'mouseup')).map((e) => e.slice(0, 3)), [['mousedown', 700, 500], ['mouseup', 710, 520]]);
      assert.equal(await done('left_click_drag', { from: at(460, 40), target: at(600, 100) }), 'Dragged.');
      assert.deepEqual((await log('mousedown', 'mouseup')).map((e) => e.slice(0, 3)), [['mousedown', 460, 40], ['mouseup', 600, 100]]);
      assert.match(await fails('left_click_drag', { from: by('ref_1'), target: at(1, 1) }), /from must be \{type: "coordinate", x, y\}/);
      assert.match(await fails('mouse_move', { target: by('ref_1') }), /target must be \{type: "coordinate"/);
    });

    test('the wheel', async () => {
      assert.equal(await done('scroll', { target: at(700, 500), scroll_direction: 'down' }), 'Scrolled down.');
      await until('the scroll', async () => await value('scrollY') === 300);
      assert.equal((await log('wheel')).length, 3);
      await done('scroll', { target: at(700, 500), scroll_direction: 'up', scroll_amount: 1 });
      await until('the scroll', async () => await value('scrollY') === 200);
      assert.match(await fails('scroll', { target: at(700, 500), scroll_direction: 'up', scroll_amount: 11 }), /from 1 to 10/);
      assert.match(await fails('scroll', { target: by('ref_1'), scroll_direction: 'up' }), /target must be/);
    });

    test('keys and text', async () => {
      await done('left_click', { target: at(100, 35) });
      assert.equal(await done('type', { text: 'abc déf' }), 'Typed.');
      assert.equal(await value('text.value'), 'abc déf');
      assert.equal(await done('key', { text: 'BackSpace BackSpace End' }), 'Pressed BackSpace BackSpace End.');
      assert.equal(await value('text.value'), 'abc d');
      assert.equal(await done('key', { text: 'BackSpace', repeat: 2 }), 'Pressed BackSpace.');
      assert.equal(await value('text.value'), 'abc');
      await done('key', { text: 'shift+Left Delete', repeat: 2 });
      assert.equal(await value('text.value'), 'a');
      assert.match(await fails('key', { text: 'a Nope' }), /"Nope" is no key/);
      assert.equal(await done('hold_key', { text: 'b', duration: 0.6 }), 'Held b for 0.6s.');
      assert.match(await value('text.value'), /^abb+$/);
      assert.equal(await done('wait', { duration: 0.1 }), 'Waited 0.1s.');
      assert.match(await fails('wait', { duration: 31 }), /from 0 to 30/);
      assert.match(await fails('hold_key', { text: 'b', duration: 31 }), /from 0 to 30/);
    });
  });

  describe('tabs and what happens besides', () => {
    test('tabs are opened, listed, switched and closed', async () => {
      const first = active(await open('/two'));
      const made = await result('new_tab');
      assert.deepEqual(made.content.map((c) => c.type), ['browser_state']);
      assert.notEqual(active(made).tab_id, first.tab_id);
      assert.deepEqual(made.state.state_changes, [{ type: 'tab_opened', tab_id: active(made).tab_id }]);
      const second = active(made).tab_id;
      await done('navigate', { url: `${site.url}/article` });
      const list = await result('list_tabs');
      assert.deepEqual([list.content.length, list.state.state_changes, active(list).title], [1, undefined, 'Article']);
      // Of the other tab, which stays behind.
      const other = await result('get_page_text', { tab_id: first.tab_id });
      assert.deepEqual([other.text, active(other).tab_id], ['two', second]);
      const moved = await result('navigate', { url: `${site.url}/gone`, tab_id: first.tab_id });
      assert.deepEqual([moved.text, active(moved).tab_id], [`Navigated to ${site.url}/gone — Gone (HTTP 404)`, second]);
      await done('navigate', { url: 'back', tab_id: first.tab_id });
      assert.match(await fails('left_click', { target: at(5000, 1), tab_id: first.tab_id }), /outside/);
      assert.match(await done('get_page_text'), /^News/);
      const shot = await result('screenshot', { tab_id: first.tab_id });
      assert.deepEqual([pngSize(shot.image), active(shot).tab_id], [[WIDTH, HEIGHT], second]);
      const back = await result('switch_tab', { tab_id: first.tab_id });
      assert.deepEqual([back.content.length, active(back).tab_id], [1, first.tab_id]);
      assert.equal(await done('get_page_text'), 'two');
      const r = ref(await done('read_page', { tab_id: second, filter: 'all' }), 'heading "News"');
      assert.match(await fails('scroll_to', { target: by(r) }), /is on another tab/);
      await done('scroll_to', { target: by(r), tab_id: second });
      const closed = await result('close_tab', { tab_id: second });
      assert.deepEqual([closed.content.length, closed.state.tabs.some((t) => t.tab_id === second), active(closed).tab_id], [1, false, first.tab_id]);
      assert.match(await fails('switch_tab', { tab_id: second }), /There is no tab ".*"; list_tabs tells/);
      assert.match(await fails('close_tab', { tab_id: 'nonsense' }), /There is no tab "nonsense"/);
      assert.match(await fails('screenshot', { tab_id: 'nonsense' }), /There is no tab "nonsense"/);
      assert.match(await fails('close_tab', {}), /tab_id is missing/);
    });

    test('a tab that a page opens is told and in front', async () => {
      const first = active(await open('/'));
      let r = await result('left_click', { target: at(200, 335) });
      assert.equal(r.text, 'Clicked.');
      const changes = r.state.state_changes ?? [];
      await until('the tab', async () => {
        if (changes.length && active(r).title === 'Two') return true;
        r = await result('list_tabs');
        changes.push(...r.state.state_changes ?? []);
        return false;
      });
      assert.deepEqual(changes, [{ type: 'tab_opened', tab_id: active(r).tab_id }]);
      assert.equal(active(r).url, `${site.url}/two`);
      const closed = await result('close_tab', { tab_id: active(r).tab_id });
      assert.equal(active(closed).tab_id, first.tab_id);
    });

    test('downloads are told', async () => {
      await open('/');
      const r = await result('left_click', { target: at(50, 335) });
      let changes = r.state.state_changes ?? [];
      await until('the download', async () => {
        if (changes.some((c) => c.type === 'download_completed')) return true;
        changes = changes.concat((await result('wait', { duration: 0.2 })).state.state_changes ?? []);
        return false;
      });
      const done_ = changes.find((c) => c.type === 'download_completed');
      assert.deepEqual([done_.url, done_.size_bytes], [`${site.url}/file`, 8]);
      assert.ok(!done_.path || done_.path.startsWith('/home/agent/Downloads/'), done_.path);
      assert.ok(changes.every((c) => c.download_id === done_.download_id));
      assert.equal((await result('list_tabs')).state.state_changes, undefined);
    });

    test('dialogs are told in words and answered by keys', async () => {
      await open('/');
      await value(`ask.onclick = () => { answer = confirm('sure?'); }`);
      const r = await result('left_click', { target: at(350, 335) });
      assert.match(r.text, /^Clicked\.\nA confirmation is open: "sure\?"/);
      assert.match(await fails('left_click', { target: at(10, 10) }), /cannot be done while a dialog is open/);
      assert.match(await fails('read_page'), /cannot be done while a dialog is open/);
      assert.deepEqual((await result('list_tabs')).content.length, 1);
      await done('key', { text: 'Return' });
      assert.equal(await value('answer'), true);
      assert.match(await done('navigate', { url: 'data:text/html,<script>alert(1)</script>hello' }), /An alert is open: "1"/);
      await done('key', { text: 'Return' });
      assert.equal(await done('get_page_text'), 'hello');
    });
  });

  describe('requests', () => {
    test('members that are off are refused until the request enables them', async () => {
      await open('/form');
      for (const name of ['javascript_exec', 'file_upload', 'read_console', 'read_network'])
        assert.equal(await fails(name, { text: '1', target: by('ref_1'), paths: ['a'] }), `${name} is not enabled.`);
      const js = (text) => done('javascript_exec', { text }, '?enable=javascript_exec');
      assert.equal(await js('const a = 6; a * 7'), '42');
      assert.equal(await js('const a = "text"; a'), 'text');
      assert.equal(await js('({ a: [1, null] })'), '{"a":[1,null]}');
      assert.equal(await js('undefined'), 'undefined');
      assert.equal(await js('null'), 'null');
      assert.equal(await js('await new Promise((r) => setTimeout(() => r(user.id), 50))'), 'user');
      assert.match(await fails('javascript_exec', { text: 'nobody.at.all' }, '?enable=javascript_exec'), /The script failed: ReferenceError: nobody/);
      assert.equal((await js('"x".repeat(60000)')).length, 50000);
      const papers = ref(await done('read_page', { filter: 'all' }), 'button "Papers');
      fs.writeFileSync(path.join(browser.uploads, 'mine.txt'), 'mine');
      const on = '?enable=javascript_exec,file_upload,read_console,read_network';
      assert.equal(await done('file_upload', { target: by(papers), paths: ['mine.txt'] }, on), 'Uploaded.');
      assert.equal(await value('up.files[0].name'), 'mine.txt');
      assert.match(await fails('file_upload', { target: by(papers), paths: ['/etc/passwd'] }, on), /chosen below \/home\/agent\/Uploads/);
      assert.match(await fails('file_upload', { target: by(papers), paths: ['a', 'b'] }, on), /takes one file only/);
      assert.match(await fails('file_upload', { target: by(papers), document_ids: ['x'] }, on), /no staged documents/);
      assert.match(await fails('file_upload', { target: by(papers) }, on), /paths is missing/);
      assert.match(await fails('file_upload', { target: by(ref(await done('find', { query: 'Name' }), 'textbox "Name"')), paths: ['mine.txt'] }, on), /is no file input/);
      for (const name of ['read_console', 'read_network']) assert.equal(await fails(name, {}, on), `${name} is not available in this browser.`);
      assert.equal((await post(block('wait', { duration: 0 }), '?enable=everything')).status, 400);
    });

    test('several run in order, and stop at a failure', async () => {
      await open('/');
      const r = (await post({ role: 'assistant', content: [{ type: 'text', text: 'I will' }, block('left_click', { target: at(100, 35) }, '1'),
        block('type', { text: 'x' }, '2'), block('left_click', { target: at(9999, 1) }, '3'), block('new_tab', {}, '4'),
        { type: 'tool_use', id: '5', toolset_name: 'mine', name: 'find', input: {} }] })).json;
      assert.equal(r.role, 'user');
      assert.deepEqual(r.content.map((c) => [c.tool_use_id, c.is_error, c.content.filter((b) => b.type === 'browser_state').length]),
        [['1', false, 1], ['2', false, 1], ['3', true, 0], ['4', true, 0]]);
      assert.match(r.content[3].content[0].text, /^Not executed/);
      assert.equal(await value('text.value'), 'x');
    });

    test('whose a name is that both toolsets have', async () => {
      await open('/');
      const kinds = async (o, query) => (await post(o, query)).json.content.map((c) => c.type);
      assert.deepEqual(await kinds({ name: 'left_click', input: { target: at(5, 5) } }), ['text', 'browser_state']);
      assert.deepEqual(await kinds({ name: 'left_click', input: { coordinate: [5, 5] } }), ['text']);
      assert.deepEqual(await kinds({ name: 'screenshot', input: {} }), ['image']);
      assert.deepEqual(await kinds({ name: 'screenshot', input: {} }, '?version=browser_toolset_20260801'), ['image', 'browser_state']);
      assert.deepEqual(await kinds({ name: 'list_tabs', input: {} }), ['browser_state']);
      const both = (await post([block('wait', { duration: 0 }, '1'), { ...block('wait', { duration: 0 }, '2'), toolset_name: 'computer' }])).json;
      assert.deepEqual(both.map((c) => [c.toolset_name, c.content.length]), [['browser', 2], ['computer', 1]]);
    });
  });
});
