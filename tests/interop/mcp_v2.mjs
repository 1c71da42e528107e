// The official MCP client, SDK version 2. The job's "era" is "legacy", its default (the
// handshake of 2025-11-25), or "auto" (2026-07-28, found out by a probe).

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

import {
  answer,
  capabilities,
  hear,
  identity,
  job,
  makeTransport,
  runJob,
} from "./mcp_session.mjs";

const client = new Client(identity, { capabilities, versionNegotiation: { mode: job.era } });
if (capabilities.elicitation) client.setRequestHandler("elicitation/create", answer);
client.setNotificationHandler("notifications/resources/updated", hear);
client.setNotificationHandler("notifications/tools/list_changed", hear);

const isModern = () => client.getProtocolEra() === "modern";

const transport = makeTransport(StdioClientTransport, StreamableHTTPClientTransport);
await runJob(client, transport, {
  call: (params, options) => client.callTool(params, options),
  // Nobody is told of anything in the modern era who does not listen for it.
  ready: () => isModern() && client.listen({ toolsListChanged: true }),
  subscribe: (uri) =>
    isModern()
      ? client.listen({ resourceSubscriptions: [uri] })
      : client.subscribeResource({ uri }),
});
