// What both MCP client versions do alike: connect, take the steps they are given, and print one
// line of JSON.
//
// The program's only argument is a JSON object:
//   "command": [..], "env": {..}     the server as a child process, over stdio; or
//   "url": "..", "token": ".."       the server over Streamable HTTP
//   "answer": {..}                   what the user fills into every form
//   "steps": { "a": { "do": "..", .. } }     see `actions`; a text "${a.b}" in one stands for a
//                                    part of what the earlier step "a" came to
// The report has what each step came to, or { error: { code, message } }. What to expect of them
// is the tests' business, not this program's.

import { writeFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

export const job = JSON.parse(process.argv[2]);

export const identity = { name: "llmspell-interop", version: "1.0.0" };
export const capabilities = job.answer ? { elicitation: {} } : {};

const WAIT_MS = 20_000;

/** Make the transport the job asks for, of one SDK version's classes. */
export function makeTransport(StdioClientTransport, StreamableHTTPClientTransport) {
  if (job.command) {
    const [command, ...args] = job.command;
    return new StdioClientTransport({ command, args, env: job.env, stderr: "inherit" });
  }
  return new StreamableHTTPClientTransport(new URL(job.url), {
    requestInit: { headers: { Authorization: `Bearer ${job.token}` } },
  });
}

const asked = [];
const heard = [];
const waiting = new Set();

/** Answer a form; a client's handler of elicitation. */
export async function answer(request) {
  asked.push(request.params);
  return { action: "accept", content: job.answer };
}

/** Note a notification; a client's handler of those it is told of. */
export function hear({ method, params }) {
  heard.push({ method, params });
  for (const look of waiting) look();
}

/** Wait for a notification that came after the `from`-th, and return it. */
async function notification(method, uri, from = 0) {
  const found = () =>
    heard.slice(from).find((one) => one.method === method && (!uri || one.params?.uri === uri));
  const coming = new Promise((resolve) => {
    const look = () => found() && resolve(found());
    waiting.add(look);
    look();
  });
  return await Promise.race([
    coming,
    setTimeout(WAIT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`no ${method} ${uri ?? ""} came`);
    }),
  ]);
}

/** What a step can be. `act` has what the SDK versions do each in their own way. */
const actions = {
  async tools(client) {
    return (await client.listTools()).tools;
  },
  async call(client, { name, arguments: given, cancel }, act) {
    const progress = [];
    const leaving = new AbortController();
    const options = {
      timeout: WAIT_MS,
      signal: leaving.signal,
      onprogress: (step) => {
        progress.push(step);
        if (cancel) leaving.abort("the test gave up");
      },
    };
    try {
      return { result: await act.call({ name, arguments: given }, options), progress };
    } catch (error) {
      return { error: { code: error.code, message: error.message }, progress };
    }
  },
  async read(client, { uri }) {
    return (await client.readResource({ uri })).contents;
  },
  async prompt(client, { name, arguments: given }) {
    return (await client.getPrompt({ name, arguments: given })).messages;
  },
  async complete(client, { ref, argument }) {
    return (await client.complete({ ref, argument })).completion.values;
  },
  async subscribe(client, { uri }, act) {
    await act.subscribe(uri);
    return heard.length;
  },
  async write(client, { path, text }) {
    await writeFile(path, text);
    return heard.length;
  },
  async hear(client, { method, uri, from }) {
    return await notification(method, uri, from);
  },
};

/** Return a step with the parts of earlier ones in place of "${name.path}". */
function filled(value, known) {
  if (typeof value === "string") {
    const part = (path) => path.split(".").reduce((inside, name) => inside[name], known);
    const whole = /^\$\{([\w.]+)\}$/.exec(value);
    return whole ? part(whole[1]) : value.replace(/\$\{([\w.]+)\}/g, (_, path) => part(path));
  }
  if (Array.isArray(value)) return value.map((item) => filled(item, known));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, known)]));
}

/** Do the job on a client and print what came of it. */
export async function runJob(client, transport, act) {
  await client.connect(transport);
  await act.ready?.();
  const steps = {};
  for (const [name, step] of Object.entries(job.steps)) {
    steps[name] = await actions[step.do](client, filled(step, steps), act);
  }
  const report = {
    server: client.getServerVersion(),
    protocol: client.getNegotiatedProtocolVersion?.() ?? null, // version 1 does not tell
    steps,
    asked,
  };
  await client.close();
  console.log(JSON.stringify(report));
}
