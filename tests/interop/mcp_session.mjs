// What both MCP client versions do alike: connect, list, call, and print one line of JSON.
//
// The program's only argument is a JSON object:
//   "command": [..], "env": {..}     the server as a child process, over stdio; or
//   "url": "..", "token": ".."       the server over Streamable HTTP
//   "calls": [{ "name": "..", "arguments": {..} }]
// Each call gives { result, progress } or { error: { code, message }, progress }. What to
// expect of them is the tests' business, not this program's.

export const job = JSON.parse(process.argv[2]);

export const identity = { name: "llmspell-interop", version: "1.0.0" };

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

/** Do the job on a client and print what came of it; `call(params, options)` is its callTool. */
export async function runJob(client, transport, call) {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const calls = [];
  for (const params of job.calls) {
    const progress = [];
    const options = { timeout: 20_000, onprogress: (step) => progress.push(step) };
    try {
      calls.push({ result: await call(params, options), progress });
    } catch (error) {
      calls.push({ error: { code: error.code, message: error.message }, progress });
    }
  }
  const report = {
    server: client.getServerVersion(),
    protocol: client.getNegotiatedProtocolVersion?.() ?? null, // version 1 does not tell
    tools,
    calls,
  };
  await client.close();
  console.log(JSON.stringify(report));
}
