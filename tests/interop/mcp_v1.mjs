// The official MCP client, SDK version 1: the handshake of 2025-11-25 and older.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { identity, makeTransport, runJob } from "./mcp_session.mjs";

const client = new Client(identity);
const transport = makeTransport(StdioClientTransport, StreamableHTTPClientTransport);
await runJob(client, transport, (params, options) => client.callTool(params, undefined, options));
