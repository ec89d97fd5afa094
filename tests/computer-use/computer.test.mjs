// Computer use: every action of every vendor's table on a real Chromium, by the events that a page records.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { noChromium } from '../gateway/chromium.mjs';
import { sleep, until } from '../gateway/lib.mjs';
import { Stage, Watcher, pngSize, serve } from './recorder.mjs';

const WIDTH = 800, HEIGHT = 600;

for (const scale of [1, 2]) describe(`computer use at device scale ${scale}`, { skip: noChromium }, () => {
  const stage = new Stage();
  let w, browser, site, watch, page;

  const post = (json, query = '') => w.request('POST', `/v1/agents/demo/computer${query}`, { json });
  // One member of Anthropic's toolset: the text of its result, which must be none of an error.
  const member = async (name, input = {}) => {
    const r = (await post({ type: 'tool_use', id: 't', toolset_name: 'computer', name, input })).json;
    assert.equal(r.is_error, false, JSON.stringify(r).slice(0, 500));
    assert.deepEqual([r.type, r.tool_use_id], ['tool_result', 't']);
    return r.content.filter((c) => c.type === 'text').map((c) => c.text).join('|');
  };
  const refused = async (name, input = {}) => {
    const r = (await post({ type: 'tool_use', id: 't', toolset_name: 'computer', name, input })).json;
    assert.equal(r.is_error, true, JSON.stringify(r).slice(0, 500));
    return r.content[0].text;
  };
  const openai = (action) => post({ type: 'computer_call', call_id: 'c', action });
  const gemini = async (name, args = {}) => {
    const r = (await post({ functionCall: { id: 'g', name, args } })).json;
    assert.equal(r.functionResponse.response.error, undefined, JSON.stringify(r).slice(0, 500));
    return r.functionResponse;
  };
  const value = (expression) => watch.eval(page, expression);
  const log = async () => {
    const all = JSON.parse(await value('JSON.stringify(log.splice(0))'));
    for (const e of all) assert.equal(e[1], true, `${e[0]} is not trusted`);
    return all.map(([kind, , ...rest]) => [kind, ...rest]);
  };
  const only = async (...kinds) => (await log()).filter((e) => kinds.includes(e[0]));
  const press = (x, y, detail = 1, mods = 0, button = 0) => {
    const mask = [1, 4, 2][button];
    return [['mousedown', x, y, button, mask, detail, mods], ...(button === 2 ? [['contextmenu', x, y, 2, mask, 0, mods]] : []),
      ['mouseup', x, y, button, 0, detail, mods],
      ...(button ? [['auxclick', x, y, button, 0, detail, mods]] : [['click', x, y, 0, 0, detail, mods]])];
  };
  const move = (x, y, mods = 0) => ['mousemove', x, y, 0, 0, 0, mods];
  const mouse = () => only('mousemove', 'mousedown', 'mouseup', 'click', 'dblclick', 'auxclick', 'contextmenu', 'wheel');
  const keys = () => only('keydown', 'keyup', 'input');

  async function open(name = '/') {
    await gemini('navigate', { url: site.url + name });
    page = await stage.look(site.url + name, WIDTH, HEIGHT);
    if (name === '/') await until('the page', () => value('typeof log !== "undefined" && document.readyState === "complete"'));
    await member('mouse_move', { coordinate: [700, 500] });
    if (name === '/') await log();
  }

  before(async () => {
    ({ w, browser, site, watch } = await stage.start(serve(), { flags: [`--force-device-scale-factor=${scale}`, '--site-per-process'] }));
  });
  after(() => stage.stop());

  describe('places', () => {
    beforeEach(() => open('/'));

    test('pictures have the size of the view, and a zoom shows more', async () => {
      const r = (await post({ type: 'tool_use', id: 't', toolset_name: 'computer', name: 'screenshot', input: {} })).json;
      assert.deepEqual(r.content.map((c) => c.type), ['image']);
      assert.deepEqual(pngSize(r.content[0].source.data), [WIDTH, HEIGHT]);
      const z = (await post({ action: 'zoom', region: [0, 0, 200, 150] })).json;
      assert.deepEqual(pngSize(z.content[0].source.data), [WIDTH, HEIGHT]);
    });

    test('every click is at its pixel, also in a scrolled page', async () => {
      for (const top of [0, 1000]) {
        await value(`scrollTo(0, ${top})`);
        for (const [name, n, button, text] of [['left_click', 1, 0, 'Clicked.'], ['right_click', 1, 2, 'Right-clicked.'],
          ['middle_click', 1, 1, 'Middle-clicked.'], ['double_click', 2, 0, 'Double-clicked.'], ['triple_click', 3, 0, 'Triple-clicked.']]) {
          assert.equal(await member(name, { coordinate: [713, 459] }), text);
          const want = [move(713, 459)];
          for (let i = 1; i <= n; i++) {
            want.push(...press(713, 459, i, 0, button));
            if (i === 2) want.push(['dblclick', 713, 459, 0, 0, 2, 0]);
          }
          assert.deepEqual(await mouse(), want, name);
          await member('mouse_move', { coordinate: [700, 500] });
          await log();
        }
      }
    });

    test('the last pixel is reached, and nothing behind it', async () => {
      await member('left_click', { coordinate: [WIDTH - 1, HEIGHT - 1] });
      assert.deepEqual(await mouse(), [move(WIDTH - 1, HEIGHT - 1), ...press(WIDTH - 1, HEIGHT - 1)]);
      for (const coordinate of [[WIDTH, 0], [0, HEIGHT], [100000, 5]])
        assert.match(await refused('left_click', { coordinate }), new RegExp(`lies outside of the screenshot, which has ${WIDTH} x ${HEIGHT} pixels`));
      assert.match(await refused('zoom', { region: [0, 0, WIDTH + 1, 10] }), /lies outside/);
      assert.deepEqual(await mouse(), []);
    });

    test('Gemini counts in thousandths', async () => {
      await gemini('click_at', { x: 500, y: 500 });
      assert.deepEqual(await mouse(), [move(400, 300), ...press(400, 300)]);
      await gemini('click', { x: 1000, y: 1000 });
      assert.deepEqual(await mouse(), [move(799, 599), ...press(799, 599)]);
      await gemini('scroll_at', { x: 875, y: 750, direction: 'down', magnitude: 500 });
      await sleep(200);
      assert.deepEqual(await mouse(), [move(700, 450), ['wheel', 700, 450, 0, 300, 0, 0]]);
    });

    test('a cross-origin frame gets what is in it', async () => {
      const inner = await watch.session('/inner', 'iframe').catch(() => null) ?? page;
      assert.notEqual(inner, page, 'the frame is not a process of its own');
      // The browser learns from what was drawn where the frame lies; until then nothing reaches it.
      await until('the frame', async () => {
        await member('left_click', { coordinate: [600, 290] });
        return watch.eval(inner, 'log.length');
      });
      await watch.eval(inner, 'log.length = 0');
      await member('left_click', { coordinate: [500, 250] });
      const events = JSON.parse(await watch.eval(inner, 'JSON.stringify(log)')).filter((e) => /mousedown|click/.test(e[0]));
      assert.deepEqual(events, [['mousedown', true, 50, 70, 0, 1, 1, 0], ['click', true, 50, 70, 0, 0, 1, 0]]);
      await member('type', { text: 'in it' });
      assert.equal(await watch.eval(inner, 'text.value'), 'in it');
      await member('left_click', { coordinate: [480, 200] });
      await member('key', { text: 'Down' });
      await member('key', { text: 'Return' });
      assert.equal(await watch.eval(inner, 'choice.value'), 'green');
    });
  });

  describe('input', () => {
    beforeEach(() => open('/'));

    test('modifiers are held and let go, in both spellings', async () => {
      await member('left_click', { coordinate: [710, 450], text: 'ctrl+shift' });
      const all = await log();
      assert.deepEqual(all.map((e) => [e[0], e[0].startsWith('key') ? e[1] : e.at(-1)]), [['keydown', 'Control'], ['keydown', 'Shift'], ['mousemove', 10],
        ['mousedown', 10], ['mouseup', 10], ['click', 10], ['keyup', 'Shift'], ['keyup', 'Control']]);
      await post({ action: 'left_click', coordinate: [710, 450], key: 'alt' });
      assert.deepEqual((await mouse()).map((e) => e.at(-1)), [1, 1, 1, 1]);
      await openai({ type: 'click', button: 'left', x: 710, y: 450, keys: ['SHIFT'] });
      assert.deepEqual((await mouse()).map((e) => e.at(-1)), [8, 8, 8, 8]);
      assert.match(await refused('left_click', { coordinate: [710, 450], text: 'a' }), /no modifier/);
    });

    test('a press, moves and a release are three actions, and a failure lets go', async () => {
      assert.equal(await member('left_mouse_down'), 'Left mouse button pressed.');
      assert.equal(await member('mouse_move', { coordinate: [710, 520] }), 'Moved the mouse.');
      assert.equal(await member('left_mouse_up'), 'Left mouse button released.');
      const all = await mouse();
      assert.deepEqual([all[0], ...all.slice(-2)], [['mousedown', 700, 500, 0, 1, 1, 0], ['mouseup', 710, 520, 0, 0, 1, 0], ['click', 710, 520, 0, 0, 1, 0]]);
      assert.ok(all.filter((e) => e[0] === 'mousemove').every((e) => e[4] === 1), JSON.stringify(all));
      await member('left_mouse_down');
      await refused('mouse_move', { coordinate: [5000, 5] });
      await until('the release', () => value('log.some((e) => e[0] === "mouseup")'));
      assert.deepEqual((await only('mousedown', 'mouseup')).map((e) => [e[0], e[4]]), [['mousedown', 1], ['mouseup', 0]]);
      assert.equal(await member('cursor_position'), 'X=710,Y=520');
    });

    test('a drag moves in steps', async () => {
      for (const drag of [() => member('left_click_drag', { start_coordinate: [460, 40], coordinate: [600, 100] }),
        () => openai({ type: 'drag', path: [{ x: 460, y: 40 }, { x: 600, y: 100 }] }),
        () => gemini('drag_and_drop', { x: 575, y: 67, destination_x: 750, destination_y: 167 })]) {
        await drag();
        const all = await mouse(), moves = all.filter((e) => e[0] === 'mousemove' && e[4] === 1);
        assert.ok(moves.length >= 5, JSON.stringify(all));
        assert.deepEqual(moves.at(-1).slice(1, 3), [600, 100]);
        assert.deepEqual(all.filter((e) => /mousedown|mouseup/.test(e[0])).map((e) => e.slice(0, 3)), [['mousedown', 460, 40], ['mouseup', 600, 100]]);
      }
      // A canvas has the line: every point of a path was seen.
      await value('pen.clearRect(0, 0, 200, 100)');
      await openai({ type: 'drag', path: [{ x: 460, y: 30 }, { x: 500, y: 30 }, { x: 500, y: 80 }] });
      assert.equal(await value('pen.getImageData(30, 10, 1, 1).data[3] > 0 && pen.getImageData(50, 40, 1, 1).data[3] > 0'), true);
    });

    test('drag and drop of HTML', async () => {
      await member('left_click_drag', { start_coordinate: [40, 230], coordinate: [350, 250] });
      assert.deepEqual((await only('dragstart', 'drop', 'dragend')).map((e) => [e[0], e[1]]), [['dragstart', 40], ['drop', 'bin'], ['dragend', undefined]]);
      await member('mouse_move', { coordinate: [40, 230] });
      await member('left_mouse_down');
      await member('mouse_move', { coordinate: [350, 250] });
      await member('left_mouse_up');
      assert.deepEqual((await only('drop')), [['drop', 'bin', 'box']]);
      await member('left_click', { coordinate: [700, 500] });
      assert.deepEqual(await only('mousedown', 'mouseup', 'click'), press(700, 500));
    });

    test('the wheel turns by exact amounts', async () => {
      assert.equal(await member('scroll', { coordinate: [700, 500], scroll_direction: 'down', scroll_amount: 3 }), 'Scrolled down.');
      await until('the scroll', async () => await value('scrollY') === 300);
      assert.deepEqual(await only('wheel'), Array(3).fill(['wheel', 700, 500, 0, 100, 0, 0]));
      await openai({ type: 'scroll', x: 700, y: 500, scroll_x: 40, scroll_y: -137 });
      await until('the scroll', async () => await value('scrollY') === 163 && await value('scrollX') === 40);
      assert.deepEqual(await only('wheel'), [['wheel', 700, 500, 40, -137, 0, 0]]);
      await member('scroll', { coordinate: [700, 500], scroll_direction: 'left', scroll_amount: 1, text: 'shift' });
      await sleep(200);
      assert.deepEqual(await only('wheel'), [['wheel', 700, 500, -100, 0, 0, 8]]);
      await gemini('scroll_document', { direction: 'down' });
      await sleep(200);
      assert.deepEqual(await only('wheel'), [['wheel', 400, 300, 0, 480, 0, 0]]);
    });

    test('keys are what a keyboard says', async () => {
      await member('left_click', { coordinate: [100, 35] });
      await log();
      for (const [text, want] of [
        ['Return', [['keydown', 'Enter', 'Enter', 13, 0, 0, false], ['keyup', 'Enter', 'Enter', 13, 0, 0, false]]],
        ['a', [['keydown', 'a', 'KeyA', 65, 0, 0, false], ['input', 'insertText', 'a'], ['keyup', 'a', 'KeyA', 65, 0, 0, false]]],
        ['A', [['keydown', 'Shift', 'ShiftLeft', 16, 1, 8, false], ['keydown', 'A', 'KeyA', 65, 0, 8, false], ['input', 'insertText', 'A'],
          ['keyup', 'A', 'KeyA', 65, 0, 8, false], ['keyup', 'Shift', 'ShiftLeft', 16, 1, 0, false]]],
        ['Page_Down', [['keydown', 'PageDown', 'PageDown', 34, 0, 0, false], ['keyup', 'PageDown', 'PageDown', 34, 0, 0, false]]],
        ['KP_5', [['keydown', '5', 'Numpad5', 101, 3, 0, false], ['input', 'insertText', '5'], ['keyup', '5', 'Numpad5', 101, 3, 0, false]]],
        ['ctrl+shift+F5', [['keydown', 'Control', 'ControlLeft', 17, 1, 2, false], ['keydown', 'Shift', 'ShiftLeft', 16, 1, 10, false],
          ['keydown', 'F5', 'F5', 116, 0, 10, false], ['keyup', 'F5', 'F5', 116, 0, 10, false], ['keyup', 'Shift', 'ShiftLeft', 16, 1, 2, false],
          ['keyup', 'Control', 'ControlLeft', 17, 1, 0, false]]]]) {
        assert.equal(await member('key', { text }), `Pressed ${text}.`);
        assert.deepEqual(await keys(), want, text);
      }
      await openai({ type: 'keypress', keys: ['CTRL', 'A'] });
      assert.deepEqual((await keys()).map((e) => [e[0], e[1], e[5]]), [['keydown', 'Control', 2], ['keydown', 'a', 2], ['keyup', 'a', 2], ['keyup', 'Control', 0]]);
      await gemini('key_combination', { keys: 'Control+A' });
      assert.deepEqual((await keys()).map((e) => e[1]), ['Control', 'a', 'a', 'Control']);
      await gemini('key_down', { key: 'shift' });
      await gemini('press_key', { key: 'x' });
      await gemini('key_up', { key: 'shift' });
      assert.deepEqual((await only('keydown', 'keyup')).map((e) => [e[0], e[1]]), [['keydown', 'Shift'], ['keydown', 'X'], ['keyup', 'X'], ['keyup', 'Shift']]);
      assert.equal(await member('key', { text: 'BackSpace', repeat: 3 }), 'Pressed BackSpace.');
      assert.equal((await only('keydown')).length, 3);
      assert.equal(await member('hold_key', { text: 'b', duration: 1 }), 'Held b for 1s.');
      const held = await only('keydown', 'keyup');
      assert.ok(held.length > 4 && held.slice(1, -1).every((e) => e[6]) && held.at(-1)[0] === 'keyup', JSON.stringify(held));
    });

    test('text of all kinds arrives, and editing keys edit', async () => {
      await member('left_click', { coordinate: [100, 90] });
      const text = 'Ab 1!\tÄß 你好 😀 שלום é\nzwei\r\ndrei';
      await gemini('type', { text: text.replace('\t', ' ') });
      assert.equal(await value('area.value'), text.replace('\t', ' ').replace('\r\n', '\n'));
      await member('key', { text: 'ctrl+a' });
      await member('key', { text: 'ctrl+c' });
      await member('left_click', { coordinate: [100, 35] });
      await member('key', { text: 'ctrl+v' });
      assert.match(await value('text.value'), /^Ab 1! Äß 你好 😀 שלום é/);
      await gemini('type_text_at', { x: 125, y: 58, text: 'new', press_enter: false });
      assert.equal(await value('text.value'), 'new');
      await member('key', { text: 'Home' });
      await member('key', { text: 'Delete' });
      await member('key', { text: 'shift+End' });
      await member('type', { text: 'xt' });
      assert.equal(await value('text.value'), 'xt');
      await member('triple_click', { coordinate: [100, 35] });
      await member('type', { text: 'over' });
      assert.equal(await value('text.value'), 'over');
      const long = 'The quick brown fox. '.repeat(1000);
      await member('triple_click', { coordinate: [100, 35] });
      await member('type', { text: long });
      assert.equal(await value('text.value'), long);
      assert.match(await refused('type', { text: 'a\u0007' }), /control character U\+0007/);
      assert.match(await refused('type', { text: 'x'.repeat(50001) }), /text has 50001 bytes; it may have 0 to 50000/);
    });

    test('a list of choices is in the picture, and the mouse chooses', async () => {
      await member('left_click', { coordinate: [90, 155] });
      const at = JSON.parse(await value('JSON.stringify(choice.options[2].getBoundingClientRect())'));
      assert.ok(at.height > 5, 'the list is not in the page');
      await member('left_click', { coordinate: [Math.round(at.x + 20), Math.round(at.y + at.height / 2)] });
      assert.equal(await value('choice.value'), 'three');
      assert.deepEqual((await only('change')), [['change', 'three']]);
      await member('left_click', { coordinate: [90, 155] });
      await member('key', { text: 'Up' });
      await member('key', { text: 'Return' });
      assert.equal(await value('choice.value'), 'two');
      await member('left_click', { coordinate: [470, 155] });
      await member('type', { text: '12312026' });
      assert.equal(await value('date.value'), '2026-12-31');
    });
  });

  describe('what happens besides', () => {
    beforeEach(() => open('/'));

    test('dialogs are told, shown and answered', async () => {
      for (const [ask, answer, want] of [['alert("hello")', ['key', { text: 'Return' }], null], ['confirm("sure?")', ['key', { text: 'Escape' }], false],
        ['confirm("sure?")', ['key', { text: 'Enter' }], true], ['prompt("name?", "old")', ['type', { text: 'new\n' }], 'new'],
        ['prompt("name?", "old")', ['key', { text: 'Return' }], 'old'], ['prompt("name?")', ['key', { text: 'Escape' }], null]]) {
        await value(`answer = 'none', ask.onclick = () => { answer = ${ask} ?? null; }`);
        assert.match(await member('left_click', { coordinate: [350, 335] }), /^Clicked\.\nAn? (alert|confirmation|prompt) is open: "/);
        assert.match(await refused('left_click', { coordinate: [10, 10] }), /cannot be done while a dialog is open/);
        const shot = (await post({ action: 'screenshot' })).json;
        assert.equal(shot.is_error, false);
        assert.deepEqual(pngSize(shot.content.find((c) => c.type === 'image').source.data), [WIDTH, HEIGHT]);
        assert.match(shot.content.find((c) => c.type === 'text').text, /is open/);
        await member(...answer);
        assert.equal(await value('answer'), want);
        await member('left_click', { coordinate: [700, 500] });
      }
      const inner = await watch.session('/inner', 'iframe');
      await watch.eval(inner, `setTimeout(() => { answer = confirm('inner'); }, 300)`);
      assert.match(await member('wait', { duration: 1 }), /A confirmation is open: "inner"/);
      await member('key', { text: 'Return' });
      assert.equal(await watch.eval(inner, 'answer'), true);
      await value(`setTimeout(() => { answer = confirm('late'); }, 300)`);
      assert.match(await member('wait', { duration: 1 }), /^Waited 1s\.\nA confirmation is open: "late"/);
      const r = (await post([{ type: 'computer_call', call_id: 'c', actions: [{ type: 'keypress', keys: ['ENTER'] }, { type: 'click', button: 'left', x: 1, y: 2 }] }])).json;
      assert.deepEqual(r.map((o) => o.type), ['computer_call_output']);
      assert.equal(await value('answer'), true);
    });

    test('a page that asks before it is left', async () => {
      await open('/stay');
      await member('left_click', { coordinate: [50, 50] });
      assert.match(JSON.stringify(await gemini('navigate', { url: `${site.url}/two` })), /whether to leave the page is open/);
      await member('key', { text: 'Escape' });
      assert.equal(await value('location.pathname'), '/stay');
      await gemini('navigate', { url: `${site.url}/two` });
      await member('key', { text: 'Return' });
      await until('the page', async () => (await watch.targets()).some((t) => t.url.endsWith('/two')));
    });

    test('a new tab is followed, and the old one is there when it is closed', async () => {
      await member('left_click', { coordinate: [200, 335] });
      const r = await gemini('take_screenshot');
      assert.match(r.response.url, /\/two$/);
      assert.match(JSON.stringify(r), /A new tab is in front: (http|about:blank)/);
      const two = (await watch.targets()).find((t) => t.url.endsWith('/two'));
      await watch.call('Target.closeTarget', { targetId: two.targetId });
      await until('the end of the tab', async () => !(await watch.targets()).some((t) => t.targetId === two.targetId));
      await log();
      assert.match((await gemini('click', { x: 800, y: 800 })).response.url, /\/$/);
      assert.equal((await only('click')).length, 1);
    });

    test('a page of another browsing context is not followed, one that is opened beside is', async () => {
      const { browserContextId } = await watch.call('Target.createBrowserContext');
      await watch.call('Target.createTarget', { url: `${site.url}/two`, browserContextId });
      await sleep(300);
      assert.match((await gemini('take_screenshot')).response.url, /\/$/);
      await watch.call('Target.disposeBrowserContext', { browserContextId });
      await w.request('POST', '/v1/agents/demo/open', { json: { url: `${site.url}/two`, new_tab: true } });
      const r = await gemini('take_screenshot');
      assert.match(r.response.url, /\/two$/);
      await watch.call('Target.closeTarget', { targetId: (await watch.targets()).find((t) => t.url.endsWith('/two')).targetId });
      await sleep(300);
    });

    test('files: a download is told, a chooser takes a path', async () => {
      assert.match(await member('left_click', { coordinate: [50, 335] }) + await member('wait', { duration: 1 }), /A download began: report\.txt/);
      fs.writeFileSync(path.join(browser.uploads, 'mine.txt'), 'mine');
      await member('left_click', { coordinate: [460, 335] });
      assert.match(await member('wait', { duration: 0.3 }) + await member('type', { text: 'mine.txt' }), /A file chooser is open|Typed/);
      await member('key', { text: 'Return' });
      assert.equal(await value('up.files[0].text()'), 'mine');
      await member('left_click', { coordinate: [460, 335] });
      await member('wait', { duration: 0.3 });
      assert.match(await refused('type', { text: '/etc/passwd\n' }), /below/);
    });

    test('a crashed tab is loaded again', async () => {
      await watch.call('Page.navigate', { url: 'chrome://crash' }, page).catch(() => {});
      await sleep(300);
      const click = { type: 'tool_use', id: 't', toolset_name: 'computer', name: 'left_click', input: { coordinate: [700, 450] } };
      let said = (await post(click)).json.content[0].text;
      if (/It will be loaded again/.test(said)) said = (await post(click)).json.content[0].text; // it crashed in the midst of it
      assert.match(said, /had crashed and was loaded again/);
      page = await watch.session(`${site.url}/`);
      assert.deepEqual((await mouse()).slice(-3), press(700, 450));
    });

    test('an agent that sleeps is woken', async () => {
      w.event('agent.suspending');
      w.event('agent.suspended');
      await until('the sleep', async () => (await w.get('/v1/agents/demo')).json.state === 'suspended');
      await sleep(300);
      const before = w.ops.length, click = member('left_click', { coordinate: [700, 450] });
      assert.equal(before, w.ops.filter((o) => !/resume/.test(o)).length, 'being connected woke it');
      await until('the wake', () => w.ops.includes('agent.resume demo wake'));
      w.event('agent.resumed', '0');
      assert.equal(await click, 'Clicked.');
      assert.equal((await only('click')).length, 1);
      w.ops.length = 0;
    });

    if (scale === 1) test('a page that hangs', async () => {
      await open('/busy');
      await member('screenshot'); // so that it is drawn in its present size
      assert.match(await refused('left_click', { coordinate: [50, 50] }), /did not take the input within 30 s/);
      const shot = (await openai({ type: 'screenshot' }));
      assert.match(shot.headers['x-berth-remarks'], /what was drawn last/);
      assert.deepEqual(pngSize(shot.json.output.image_url.replace('data:image/png;base64,', '')), [WIDTH, HEIGHT]);
      await open('/');
      assert.equal(await member('left_click', { coordinate: [700, 450] }), 'Clicked.');
    });

    test('history', async () => {
      await gemini('navigate', { url: `${site.url}/two` });
      assert.match((await gemini('go_back')).response.url, /\/$/);
      assert.match((await gemini('go_forward')).response.url, /\/two$/);
      const r = (await post({ name: 'go_forward', args: {} })).json;
      assert.match(r.functionResponse.response.error, /no page to go forward/);
      assert.match((await post({ name: 'navigate', args: { url: 'file:///etc/passwd' } })).json.functionResponse.response.error, /can be opened/);
    });
  });

  describe('requests', () => {
    beforeEach(() => open('/'));

    test('a turn stops at its first failure', async () => {
      const use = (id, name, input) => ({ type: 'tool_use', id, toolset_name: 'computer', name, input });
      const r = (await post({ role: 'assistant', content: [{ type: 'text', text: 'now' }, use('1', 'left_click', { coordinate: [700, 450] }),
        { type: 'tool_use', id: 'x', name: 'my_own_tool', input: {} }, use('2', 'left_click', { coordinate: [9999, 1] }), use('3', 'left_click', { coordinate: [1, 1] })] })).json;
      assert.equal(r.role, 'user');
      assert.deepEqual(r.content.map((c) => [c.tool_use_id, c.is_error]), [['1', false], ['2', true], ['3', true]]);
      assert.equal(r.content[2].content[0].text, 'Not executed: an earlier computer action in this turn failed.');
      assert.equal((await only('click')).length, 1);
    });

    test('OpenAI: pictures in every case, checks acknowledged, words in a message', async () => {
      const checks = [{ id: 's1', code: 'malicious_instructions', message: 'look out' }];
      const one = await post({ type: 'computer_call', call_id: 'c1', pending_safety_checks: checks, action: { type: 'double_click', x: 700, y: 450 } });
      assert.deepEqual(Object.keys(one.json), ['type', 'call_id', 'output', 'acknowledged_safety_checks']);
      assert.deepEqual(one.json.acknowledged_safety_checks, checks);
      assert.deepEqual(pngSize(one.json.output.image_url.replace('data:image/png;base64,', '')), [WIDTH, HEIGHT]);
      const list = (await post({ output: [{ type: 'reasoning' }, { type: 'computer_call', call_id: 'a', actions: [{ type: 'move', x: 1, y: 1 }, { type: 'fly' }, { type: 'wait' }] },
        { type: 'computer_call', call_id: 'b', action: { type: 'wait' } }] })).json;
      assert.deepEqual(list.map((o) => [o.type, o.call_id]), [['computer_call_output', 'a'], ['computer_call_output', 'b'], ['message', undefined]]);
      assert.match(list[2].content[0].text, /"fly" is no action here; there are click, double_click/);
      for (const o of list.slice(0, 2)) assert.match(o.output.image_url, /^data:image\/png;base64,iVBOR/);
      const single = await openai({ type: 'click', button: 'left', x: 5000, y: 1 });
      assert.equal(single.json.type, 'computer_call_output');
      assert.match(single.headers['x-berth-remarks'], /lies outside/);
      assert.equal((await post([{ type: 'move', x: 3, y: 4 }, { type: 'screenshot' }])).json.type, 'computer_screenshot');
    });

    test('Gemini: a message for a message, its names kept, confirmations acknowledged', async () => {
      const r = (await post({ role: 'model', parts: [{ text: 'hm' }, { function_call: { name: 'hover_at', args: { x: 10, y: 10, safety_decision: { decision: 'require_confirmation', explanation: 'x' } } } },
        { function_call: { name: 'wait', args: { seconds: 0.1 } } }] })).json;
      assert.equal(r.role, 'user');
      assert.deepEqual(r.parts.map((p) => p.function_response.name), ['hover_at', 'wait']);
      assert.equal(r.parts[0].function_response.response.safety_acknowledgement, 'true');
      assert.equal(r.parts[1].function_response.response.safety_acknowledgement, undefined);
      assert.match(r.parts[0].function_response.response.url, /^http:\/\/a\.test/);
      assert.deepEqual(pngSize(r.parts[0].function_response.parts[0].inline_data.data), [WIDTH, HEIGHT]);
    });

    test('the single tool shows what it did', async () => {
      const r = (await post({ action: 'mouse_move', coordinate: [5, 6] })).json;
      assert.deepEqual(r.content.map((c) => c.type), ['text', 'image']);
      assert.equal((await post({ action: 'cursor_position' })).json.content[0].text, 'X=5,Y=6');
      assert.deepEqual((await post({ action: 'mouse_move', coordinate: [5, 6] }, '?screenshot=never')).json.content.map((c) => c.type), ['text']);
      const old = (await post({ action: 'left_click', coordinate: [5, 6] }, '?version=computer_20241022')).json;
      assert.match(old.content[0].text, /coordinate is no member of it in this version/);
      assert.match((await post({ action: 'scroll', scroll_direction: 'up', scroll_amount: 1 }, '?version=computer_20241022')).json.content[0].text, /"scroll" is no action here/);
      await post({ action: 'left_click' }, '?version=computer_20241022');
      assert.deepEqual((await only('click')).map((e) => e.slice(1, 3)), [[5, 6]]);
    });

    for (const [name, body, query, status] of [['no vendor', { a: 1 }, '', 400], ['an empty list', [], '', 400], ['a wrong vendor', { action: 'wait' }, '?vendor=acme', 400],
      ['a wrong version', { action: 'wait' }, '?version=9', 400], ['a wrong wish', { action: 'wait' }, '?screenshot=maybe', 400],
      ['10 MB', { action: 'type', text: 'x'.repeat(10 << 20) }, '', 413]])
      test(`nobody's: ${name}`, async () => {
        const r = await post(body, query);
        assert.equal(r.status, status, r.text);
        assert.ok(r.json.detail);
        if (status === 413) assert.match(r.json.detail, /1 MiB/);
      });

    test('bad actions are told in the vendor\'s form, and the next one works', async () => {
      for (const [input, want] of [[{ action: 'fly' }, /"fly" is no action here; there are key, /], [{ action: 'left_click', coordinate: '5,5' }, /coordinate must be \[x, y\]/],
        [{ action: 'left_click', coordinate: [1.5, 2] }, /coordinate\[0\] must be a whole number/], [{ action: 'left_click', coordinate: [-1, 2] }, /coordinate\[0\] is -1; it must be from 0/],
        [{ action: 'scroll', scroll_direction: 'sideways', scroll_amount: 1, coordinate: [1, 1] }, /up, down, left or right/],
        [{ action: 'wait', duration: 3000 }, /duration is 3000; it must be from 0 to 300/], [{ action: 'key' }, /text is missing/], [{ action: 'key', text: 'ctrl+' }, /missing behind/],
        [{ action: 'zoom', region: [5, 5, 5, 9] }, /region must be/], [{ action: 'type', text: 5 }, /text must be a string/], [{ action: 'key', text: '+'.repeat(50) }, /is no key|more than|missing/]]) {
        const r = await post(input);
        assert.deepEqual([r.status, r.json.is_error], [200, true]);
        assert.match(r.json.content[0].text, want);
      }
      const many = (await post([...Array(10000)].map((_, i) => ({ type: 'tool_use', id: String(i), name: 'wait', input: { duration: 9 } })))).json;
      assert.equal(many.length, 10000);
      assert.ok(many.every((m) => m.is_error));
      assert.match(many[0].content[0].text, /may have 200 actions/);
      const calls = (await post({ type: 'computer_call', call_id: 'c', actions: Array(10000).fill({ type: 'wait' }) }));
      assert.equal(calls.json.type, 'computer_call_output');
      assert.match(calls.headers['x-berth-remarks'], /may have 200 actions/);
      assert.equal(await member('left_click', { coordinate: [700, 450] }), 'Clicked.');
    });

    test('requests of one agent are served in order; a client that leaves ends its own', async () => {
      const order = [];
      await Promise.all([0.5, 0, 0].map((duration, i) => post({ action: 'wait', duration }, '?screenshot=never').then(() => order.push(i))));
      assert.deepEqual(order, [0, 1, 2]);
      const s = new AbortController();
      const long = fetch(`http://127.0.0.1:${w.port}/v1/agents/demo/computer`, { method: 'POST', signal: s.signal,
        headers: { authorization: 'Bearer admin-token', 'content-type': 'application/json' }, body: '{"action":"wait","duration":200}' }).catch(() => 'gone');
      await sleep(200);
      s.abort();
      assert.equal(await long, 'gone');
      assert.equal(await member('left_click', { coordinate: [700, 450] }), 'Clicked.');
      const crowd = await Promise.all([...Array(20)].map(() => post({ action: 'wait', duration: 0.2 }, '?screenshot=never')));
      assert.deepEqual([...new Set(crowd.map((r) => r.status))].sort(), [200, 429]);
    });

    test('roles', async () => {
      assert.equal((await w.request('POST', '/v1/agents/demo/computer', { json: { action: 'screenshot' }, token: null })).status, 401);
    });
  });

  test('a browser that ended and is back', async () => {
    watch.close();
    await browser.kill();
    const r = (await post({ type: 'tool_use', id: 't', toolset_name: 'computer', name: 'screenshot', input: {} }, '')).json;
    await browser.run();
    watch = stage.watch = await Watcher.open(browser.port);
    page = null;
    assert.ok(r.is_error === true || r.content[0].type === 'image');
    await open('/');
    assert.equal(await member('left_click', { coordinate: [700, 450] }), 'Clicked.');
    assert.deepEqual((await mouse()).slice(-3), press(700, 450));
  });
});
