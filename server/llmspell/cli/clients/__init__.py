"""MCP clients on this machine: where each keeps its servers, and how ours gets in and out again."""
