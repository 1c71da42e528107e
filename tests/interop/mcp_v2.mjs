// The official MCP client, SDK version 2. The job's "era" is "legacy", its default (the
// handshake of 2025-11-25), or "auto" (2026-07-28, found out by a probe).

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

import { identity, job, makeTransport, runJob } from "./mcp_session.mjs";

const client = new Client(identity, { versionNegotiation: { mode: job.era } });
const transport = makeTransport(StdioClientTransport, StreamableHTTPClientTransport);
await runJob(client, transport, (params, options) => client.callTool(params, options));
