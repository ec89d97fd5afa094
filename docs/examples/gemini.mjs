// Gemini works in an agent's browser: Google's own package (generateContent), and one request to berth for each turn.
//
//   npm install @google/genai
//   export GEMINI_API_KEY=…  BERTH_URL=http://127.0.0.1:7900  BERTH_TOKEN=…
//   node gemini.mjs demo "Open https://example.com/ and tell me where its link goes."
//
// BERTH_TOKEN: what `berth token create --role agent --agent demo` prints last. MODEL names another model.
// What goes to berth counts as agreed to, so whoever sits here is asked before where the model wants that.
import { GoogleGenAI } from '@google/genai';
import readline from 'node:readline/promises';

const [agent, task] = process.argv.slice(2);
const model = process.env.MODEL ?? 'gemini-3.5-flash';
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

const client = new GoogleGenAI({});
const config = { tools: [{ computerUse: { environment: 'ENVIRONMENT_BROWSER' } }] };
const contents = [{ role: 'user', parts: [{ text: task }] }];

for (let turn = 0; turn < TURNS; turn++) {
  const response = await client.models.generateContent({ model, config, contents });
  const { content, finishReason } = response.candidates?.[0] ?? {};
  if (!content?.parts) throw new Error(`no answer: ${finishReason ?? response.promptFeedback?.blockReason}`);
  contents.push(content);
  for (const part of content.parts) if (part.text && !part.thought) console.log(part.text);
  const calls = response.functionCalls ?? [];
  if (calls.length === 0) break;
  const doubts = calls.filter((call) => call.args?.safety_decision?.decision === 'require_confirmation');
  if (doubts.length > 0 && !(await agreed(doubts.map((call) => call.args.safety_decision.explanation).join(' ')))) break;
  contents.push(await computer(content));
}
