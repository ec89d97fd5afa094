// An OpenAI model works in an agent's browser: OpenAI's own package (Responses API), and one request to berth for each turn.
//
//   npm install openai
//   export OPENAI_API_KEY=…  BERTH_URL=http://127.0.0.1:7900  BERTH_TOKEN=…
//   berth open demo https://example.com/
//   node openai.mjs demo "What is the heading of this page, and where does its link go?"
//
// BERTH_TOKEN: what `berth token create --role agent --agent demo` prints last. MODEL names another model.
// What goes to berth counts as agreed to, so whoever sits here is asked about safety checks before.
import OpenAI from 'openai';
import readline from 'node:readline/promises';

const [agent, task] = process.argv.slice(2);
const model = process.env.MODEL ?? 'gpt-5.4';
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

async function agreed(what) {
  const terminal = readline.createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(`${what} Go on? [y/N] `);
  terminal.close();
  return answer === 'y';
}

const client = new OpenAI();
const tools = [{ type: 'computer' }];
let response = await client.responses.create({ model, tools, input: task });

for (let turn = 0; turn < TURNS; turn++) {
  if (response.output_text) console.log(response.output_text);
  const calls = response.output.filter((item) => item.type === 'computer_call');
  if (calls.length === 0) break;
  const checks = calls.flatMap((call) => call.pending_safety_checks ?? []);
  if (checks.length > 0 && !(await agreed(checks.map((check) => check.message).join(' ')))) break;
  response = await client.responses.create({ model, tools, previous_response_id: response.id, input: await computer(response.output) });
}
