// Claude works in an agent's browser: Anthropic's own package, and one request to berth for each of the model's turns.
//
//   npm install @anthropic-ai/sdk
//   export ANTHROPIC_API_KEY=…  BERTH_URL=http://127.0.0.1:7900  BERTH_TOKEN=…
//   berth open demo https://example.com/
//   node anthropic.mjs demo "What is the heading of this page, and where does its link go?"
//
// BERTH_TOKEN: what `berth token create --role agent --agent demo` prints last. MODEL names another model.
// The toolset is no beta: it needs no header. The model asks for pictures itself.
import Anthropic from '@anthropic-ai/sdk';

const [agent, task] = process.argv.slice(2);
const model = process.env.MODEL ?? 'claude-sonnet-5-5';
const TURNS = 50;

async function computer(body) {
  const reply = await fetch(`${process.env.BERTH_URL}/v1/agents/${agent}/computer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.BERTH_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`berth: ${reply.status} ${await reply.text()}`);
  return reply.json();
}

const client = new Anthropic();
const messages = [{ role: 'user', content: task }];

for (let turn = 0; turn < TURNS; turn++) {
  const { role, content, stop_reason } = await client.messages.create({
    model, max_tokens: 4096, messages, tools: [{ type: 'computer_toolset_20260801' }],
  });
  messages.push({ role, content });
  for (const block of content) if (block.type === 'text') console.log(block.text);
  if (stop_reason !== 'tool_use') break;
  messages.push(await computer({ role, content }));
}
