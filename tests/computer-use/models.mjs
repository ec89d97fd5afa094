// Scripted models: each vendor's API on loopback, as far as its package needs it, answering with what a script wants done next.
// What the client sends is held against the vendor's form, and against what was asked of it, before it gets the next answer.
//
// A script is a list of turns: { say, ops, pending, failing, told }. ops: what is wanted, [name, ...arguments], in a vendor's own words by
// the tables below; pending: what a person is asked first; failing: the place of the operation that berth must refuse, and `told` in which words.
import assert from 'node:assert/strict';
import http from 'node:http';
import { pngSize } from './recorder.mjs';

export const VIEW = [800, 600];

const image = (data) => assert.deepEqual(pngSize(data), VIEW);
const SKIPPED = 'Not executed: an earlier computer action in this turn failed.';

class Model {
  static async start(script, task) {
    const m = new this();
    Object.assign(m, { script, task, turn: 0, asked: null, failure: null });
    m.server = http.createServer((q, r) => m.serve(q, r));
    await new Promise((r) => m.server.listen(0, '127.0.0.1', r));
    m.url = `http://127.0.0.1:${m.server.address().port}`;
    return m;
  }

  stop() { this.server.closeAllConnections(); this.server.close(); }

  // What is wrong with a request ends the client (400 is not tried again) and is the test's failure.
  async serve(q, r) {
    const parts = [];
    for await (const d of q) parts.push(d);
    let answer, status = 200;
    try {
      assert.ok(this.turn < this.script.length, 'a request after the last turn');
      assert.equal(q.method, 'POST');
      const body = JSON.parse(Buffer.concat(parts));
      this.request(q, body);
      if (this.turn === 0) this.opening(body);
      else this.returned(body, this.script[this.turn - 1]);
      answer = this.answer(this.script[this.turn], body);
      this.turn++;
    } catch (e) {
      this.failure ??= e;
      [status, answer] = [400, { error: { type: 'invalid_request_error', message: String(e.message), code: 400, status: 'INVALID_ARGUMENT' } }];
    }
    r.writeHead(status, { 'content-type': 'application/json' });
    r.end(JSON.stringify(answer));
  }

  calls(ops) { return ops.flatMap(([name, ...args]) => this.words[name](...args)); }
}

export class Anthropic extends Model {
  env = () => ({ ANTHROPIC_BASE_URL: this.url, ANTHROPIC_API_KEY: 'key' });
  file = 'anthropic.mjs';
  outside = /^left_click: |lies outside of the screenshot, which has 800 x 600 pixels/;

  words = {
    look: () => [['screenshot', {}]],
    click: (x, y, n = 1) => [[['left_click', 'double_click'][n - 1], { coordinate: [x, y] }]],
    type: (text) => [['type', { text }]],
    key: (text) => [['key', { text }]],
    drag: (x, y, x2, y2) => [['left_click_drag', { start_coordinate: [x, y], coordinate: [x2, y2] }]],
    bottom: (x, y) => [['scroll', { coordinate: [x, y], scroll_direction: 'down', scroll_amount: 10 }], ['wait', { duration: 1 }]],
  };

  done = { left_click: 'Clicked.', double_click: 'Double-clicked.', type: 'Typed.', left_click_drag: 'Dragged.', scroll: 'Scrolled down.', wait: 'Waited 1s.' };

  request(q, body) {
    assert.equal(q.url, '/v1/messages');
    assert.equal(q.headers['x-api-key'] ?? q.headers.authorization, q.headers['x-api-key'] ? 'key' : 'Bearer key');
    assert.equal(q.headers['anthropic-beta'], undefined);
    assert.deepEqual(body.tools, [{ type: 'computer_toolset_20260801' }]);
    assert.ok(body.max_tokens > 0 && typeof body.model === 'string' && !body.stream);
    assert.deepEqual(body.messages.map((m) => m.role), [...Array(2 * this.turn + 1)].map((_, i) => ['user', 'assistant'][i % 2]));
  }

  opening(body) { assert.equal(body.messages[0].content, this.task); }

  // Each tool_use of the turn has its tool_result, in its order.
  returned(body, { failing = -1, told }) {
    const uses = this.asked.filter((b) => b.type === 'tool_use'), results = body.messages.at(-1).content;
    assert.deepEqual(body.messages.at(-2).content, this.asked);
    assert.deepEqual(results.map((r) => [r.type, r.tool_use_id]), uses.map((u) => ['tool_result', u.id]));
    results.forEach((r, i) => {
      const text = r.content.filter((c) => c.type === 'text').map((c) => c.text).join('\n'), { name, input } = uses[i];
      assert.deepEqual(Object.keys(r).filter((k) => k !== 'toolset_name').sort(), ['content', 'is_error', 'tool_use_id', 'type']);
      assert.equal(r.toolset_name, uses[i].toolset_name);
      assert.equal(r.is_error, failing >= 0 && i >= failing, text);
      if (i === failing) assert.match(text, told ?? this.outside);
      else if (r.is_error) assert.equal(text, SKIPPED);
      else if (name === 'screenshot') this.picture(r.content);
      else assert.deepEqual(r.content, [{ type: 'text', text: name === 'key' ? `Pressed ${input.text}.` : this.done[name] }]);
    });
  }

  picture(content) {
    assert.deepEqual(content.map((c) => [c.type, c.source.type, c.source.media_type]), [['image', 'base64', 'image/png']]);
    image(content[0].source.data);
  }

  answer({ say, ops = [] }) {
    const uses = this.calls(ops).map(([name, input], i) => ({ type: 'tool_use', id: `toolu_${this.turn}_${i}`, caller: { type: 'direct' },
      toolset_name: 'computer', name, input }));
    this.asked = [{ type: 'thinking', thinking: '', signature: 'c2lnbmVk' }, ...(say ? [{ type: 'text', text: say }] : []), ...uses];
    return { id: `msg_${this.turn}`, type: 'message', role: 'assistant', model: 'm', content: this.asked, stop_sequence: null,
      stop_reason: uses.length ? 'tool_use' : 'end_turn', usage: { input_tokens: 1, output_tokens: 1 } };
  }
}

export class OpenAI extends Model {
  env = () => ({ OPENAI_BASE_URL: `${this.url}/v1`, OPENAI_API_KEY: 'key' });
  file = 'openai.mjs';
  outside = /lies outside of the screenshot, which has 800 x 600 pixels/;

  words = {
    look: () => [{ type: 'screenshot' }],
    click: (x, y, n = 1) => [n === 1 ? { type: 'click', button: 'left', x, y } : { type: 'double_click', x, y }],
    type: (text) => [{ type: 'type', text }],
    key: (text) => [{ type: 'keypress', keys: [text] }],
    drag: (x, y, x2, y2) => [{ type: 'drag', path: [{ x, y }, { x: x2, y: y2 }] }],
    bottom: (x, y) => [{ type: 'scroll', x, y, scroll_x: 0, scroll_y: 1000 }, { type: 'wait' }],
  };

  request(q, body) {
    assert.equal(q.url, '/v1/responses');
    assert.equal(q.headers.authorization, 'Bearer key');
    assert.deepEqual(body.tools, [{ type: 'computer' }]);
    assert.ok(typeof body.model === 'string' && !body.stream);
  }

  opening(body) { assert.deepEqual([body.input, body.previous_response_id], [this.task, undefined]); }

  // Each computer_call has its output; what cannot be told in a picture is in one message behind them.
  returned(body, { failing, told, pending }) {
    const calls = this.asked.filter((o) => o.type === 'computer_call'), outputs = body.input.slice(0, calls.length), rest = body.input.slice(calls.length);
    assert.equal(body.previous_response_id, `resp_${this.turn - 1}`);
    outputs.forEach((o, i) => {
      assert.deepEqual(Object.keys(o).sort(), [...(pending ? ['acknowledged_safety_checks'] : []), 'call_id', 'output', 'type']);
      assert.deepEqual([o.type, o.call_id, o.output.type], ['computer_call_output', calls[i].call_id, 'computer_screenshot']);
      assert.deepEqual(o.acknowledged_safety_checks, pending ? calls[i].pending_safety_checks : undefined);
      assert.deepEqual(Object.keys(o.output).sort(), ['image_url', 'type']);
      assert.ok(o.output.image_url.startsWith('data:image/png;base64,'));
      image(o.output.image_url.slice('data:image/png;base64,'.length));
    });
    assert.equal(rest.length, failing === undefined ? 0 : 1, JSON.stringify(rest));
    if (!rest.length) return;
    const { content, ...message } = rest[0];
    assert.deepEqual([message, content.map((c) => c.type)], [{ type: 'message', role: 'user' }, ['input_text']]);
    assert.match(content[0].text, told ?? this.outside);
  }

  // A list of actions in one call; the preview's form, one action a call, where there is only one.
  answer({ say, ops = [], pending }) {
    const actions = this.calls(ops), wanted = actions.length === 1 ? { action: actions[0] } : { actions };
    const checks = pending ? [{ id: 'sc_1', code: 'irreversible', message: pending }] : [];
    this.asked = [{ type: 'reasoning', id: `rs_${this.turn}`, summary: [] },
      ...(say ? [{ type: 'message', id: `m_${this.turn}`, role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: say, annotations: [] }] }] : []),
      ...(actions.length ? [{ type: 'computer_call', id: `cc_${this.turn}`, call_id: `call_${this.turn}`, status: 'completed', pending_safety_checks: checks, ...wanted }] : [])];
    return { id: `resp_${this.turn}`, object: 'response', created_at: 1, status: 'completed', model: 'm', output: this.asked, error: null,
      usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } };
  }
}

export class Gemini extends Model {
  env = () => ({ GOOGLE_GEMINI_BASE_URL: this.url, GEMINI_API_KEY: 'key' });
  file = 'gemini.mjs';
  outside = /x is \d+; it must be from 0 to 1000/;

  // The first thousandth of a pixel of the view.
  words = {
    look: () => [['take_screenshot', {}]],
    click: (x, y, n = 1) => [[['click', 'double_click'][n - 1], this.at(x, y)]],
    type: (text) => [['type', { text }]],
    key: (key) => [['press_key', { key }]],
    drag: (x, y, x2, y2) => [['drag_and_drop', { ...this.at(x, y), destination_x: this.at(x2, y2).x, destination_y: this.at(x2, y2).y }]],
    bottom: (x, y) => [['scroll', { ...this.at(x, y), direction: 'down', magnitude: 1000 }], ['wait', { seconds: 1 }]],
  };

  at(x, y) { return { x: Math.ceil((x * 1000) / VIEW[0]), y: Math.ceil((y * 1000) / VIEW[1]) }; }

  request(q, body) {
    assert.match(q.url, /^\/v1(beta)?\/models\/[^/]+:generateContent$/);
    assert.equal(q.headers['x-goog-api-key'], 'key');
    assert.deepEqual(body.tools, [{ computerUse: { environment: 'ENVIRONMENT_BROWSER' } }]);
    assert.deepEqual(body.contents.map((m) => m.role), [...Array(2 * this.turn + 1)].map((_, i) => ['user', 'model'][i % 2]));
  }

  opening(body) { assert.deepEqual(body.contents[0].parts, [{ text: this.task }]); }

  // Each functionCall has its functionResponse, in its order, with the page's address and a picture.
  returned(body, { failing = -1, told, pending }) {
    const calls = this.asked.filter((p) => p.functionCall).map((p) => p.functionCall), parts = body.contents.at(-1).parts;
    assert.deepEqual(body.contents.at(-2).parts, this.asked);
    assert.deepEqual(parts.map((p) => Object.keys(p)), calls.map(() => ['functionResponse']));
    parts.forEach(({ functionResponse: { id, name, response, parts: pictures, ...more } }, i) => {
      const failed = failing >= 0 && i >= failing;
      assert.deepEqual([id, name, more], [calls[i].id, calls[i].name, {}]);
      assert.equal(typeof response.url, 'string');
      if (!failed) assert.match(response.url, /^http:\/\/a\.test:/);
      assert.equal(response.safety_acknowledgement, pending && i === 0 ? 'true' : undefined);
      if (!failed) assert.equal(response.error, undefined);
      else if (i > failing) assert.equal(response.error, SKIPPED);
      else assert.match(response.error, told ?? this.outside);
      if (failed && !pictures) return;
      assert.deepEqual(pictures.map((p) => [Object.keys(p), p.inlineData.mimeType]), [[['inlineData'], 'image/png']]);
      image(pictures[0].inlineData.data);
    });
  }

  answer({ say, ops = [], pending }) {
    const calls = this.calls(ops).map(([name, args], i) => ({ thoughtSignature: 'c2lnbmVk',
      functionCall: { id: `f_${this.turn}_${i}`, name, args: { ...args, intent: 'the next step',
        ...(pending && i === 0 ? { safety_decision: { decision: 'require_confirmation', explanation: pending } } : {}) } } }));
    this.asked = [...(say ? [{ text: say }] : []), ...calls];
    return { candidates: [{ index: 0, finishReason: 'STOP', content: { role: 'model', parts: this.asked } }], modelVersion: 'm',
      usageMetadata: { promptTokenCount: 1, totalTokenCount: 2 } };
  }
}
