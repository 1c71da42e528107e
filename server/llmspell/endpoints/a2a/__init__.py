"""The A2A door: every published spell as a skill of one agent, over JSON-RPC and WebSocket.

`dispatch` answers one operation for every binding, `handler` performs it on
the host, `mapping` shows runs as tasks; `jsonrpc` and `websocket` move bytes.
`client` and `remote_call` are the other side: calling a remote agent.
"""

import os

# Before anything imports the SDK, which reads it then: it would wrap every call in a span.
os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
