"""What `mcp_modes` compares with: the same two tools on the bare SDK and on FastMCP.

Each is a Python function in the server itself: `echo` says a text back, `tell`
reports progress once before it does.
"""

from __future__ import annotations

import asyncio
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
TELL = """\
-- Say a text back, and that it is half done before.
return Spell.create {
  name = "tell", input = { text = Schema.string "What to say" }, read_only = true,
  run = function(input, ctx) ctx:progress(1, 2) return input.text end,
}
"""
"""The second tool as a spell; the first is `servers.ECHO`."""


def serve(library: str, transport: str, port: int = 0) -> None:
    """Serve over `json` (answers are plain JSON), `sse` (they may be streams) or `stdio`."""
    if transport == "stdio":
        asyncio.run(_sdk_stdio() if library == "sdk" else _fastmcp().run_stdio_async())
        return
    import uvicorn

    is_json = transport == "json"
    app = (
        _sdk().streamable_http_app(json_response=is_json)
        if library == "sdk"
        else _fastmcp().http_app(json_response=is_json)
    )
    uvicorn.run(app, port=port, log_level="error", access_log=False)


def _sdk() -> Any:
    import mcp_types as types
    from mcp.server.lowlevel import Server

    tools = [
        types.Tool(name=name, description="Say a text back.", input_schema=SCHEMA)
        for name in ("echo", "tell")
    ]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: Any) -> types.CallToolResult:
        if params.name == "tell":
            await context.session.report_progress(1, 2)
        text = types.TextContent(type="text", text=params.arguments["text"])
        return types.CallToolResult(content=[text])

    return Server(
        "bench",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda _: SCHEMA,
    )


async def _sdk_stdio() -> None:
    from mcp.server.stdio import stdio_server

    server = _sdk()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _fastmcp() -> Any:
    from fastmcp import Context, FastMCP

    server = FastMCP("bench")

    @server.tool
    async def echo(text: str) -> str:
        """Say a text back."""
        return text

    async def tell(text: str, ctx: Context) -> str:
        """Say a text back."""
        await ctx.report_progress(1, 2)
        return text

    # The annotation is a name of this function only, so it is given as it is.
    tell.__annotations__["ctx"] = Context
    server.tool(tell)
    return server
