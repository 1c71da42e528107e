// The official MCP client, SDK version 1: the handshake of 2025-11-25 and older.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

import { answer, capabilities, hear, identity, makeTransport, runJob } from "./mcp_session.mjs";

const client = new Client(identity, { capabilities });
if (capabilities.elicitation) client.setRequestHandler(ElicitRequestSchema, answer);
client.setNotificationHandler(ResourceUpdatedNotificationSchema, hear);
client.setNotificationHandler(ToolListChangedNotificationSchema, hear);

const transport = makeTransport(StdioClientTransport, StreamableHTTPClientTransport);
await runJob(client, transport, {
  call: (params, options) => client.callTool(params, undefined, options),
  subscribe: (uri) => client.subscribeResource({ uri }),
});
