"""MCP over Streamable HTTP, both protocol eras. `door` is the ASGI application."""
