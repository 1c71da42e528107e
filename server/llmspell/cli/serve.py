"""`llmspell serve`: HTTP in the foreground, as the owner or through the one that lives."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmspell.cli.place import place_of
from llmspell.errors import OwnerUnreachable, StateOwned

if TYPE_CHECKING:
    from llmspell.config import Project
    from llmspell.host.remote import RemoteHost


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="H", help="Address to listen on.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="P", help="Port; 0 = any free one.  [default: 7777]")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(metavar="token|keys|oauth|none", help="Who may call.  [default: token]"),
    ] = None,
) -> None:
    """Serve MCP and A2A over HTTP until Ctrl-C."""
    from llmspell.cli.logs import set_up_logging
    from llmspell.cli.owning import run_loop
    from llmspell.endpoints.auth.bind import check_bind

    project = place_of(context).open({"server": {"host": host, "port": port, "auth": auth}})
    server = project.settings.server
    if server.auth == "none":  # said before anything is begun
        check_bind("none", server.host)
    set_up_logging(project.settings.log)
    run_loop(_serve(project))


async def _serve(project: Project) -> None:
    from llmspell.host.remote import RemoteHost

    owner = await RemoteHost.find(project.state)
    if owner is None:
        try:
            await _as_owner(project)
            return
        except StateOwned:
            # Somebody else was quicker by a moment.
            owner = await RemoteHost.find(project.state)
            if owner is None:
                raise
    async with owner:
        await _through(owner, project)


async def _as_owner(project: Project) -> None:
    from llmspell.cli.owning import owning

    async with owning(project) as (owner, http), owner.signals():
        await http.open(project.settings.server)
        described = http.describe()
        assert described is not None
        await owner.serve(lambda: _announce(project, described))


async def _through(owner: RemoteHost, project: Project) -> None:
    """Let a living owner serve HTTP for as long as this process lives."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    _announce(project, await owner.call("http.open", **project.settings.server.model_dump()))
    ends = [asyncio.ensure_future(interrupted.wait()), asyncio.ensure_future(owner.wait_closed())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    if not interrupted.is_set():
        raise OwnerUnreachable(f"the owner (pid {owner.pid}) has ended, and HTTP with it")
    await owner.call("http.close")


def _announce(project: Project, http: dict[str, Any]) -> None:
    typer.echo(f"serving {project.root}")
    typer.echo(f"  MCP    {http['mcp']}")
    typer.echo(f"  A2A    {http['a2a']}  {http['websocket']}")
    typer.echo(f"  card   {http['card']}")
    match http["auth"]:
        case "token":
            typer.echo(f"  token  in {http['token_file']} (Authorization: Bearer ...)")
        case "keys":
            typer.echo("  keys   see: llmspell keys list (Authorization: Bearer ...)")
        case "oauth":
            typer.echo(f"  tokens of {http['issuer']}")
        case _:
            typer.echo("  token  none: whoever reaches this address may call")
    if http["warning"]:
        typer.echo(f"warning: {http['warning']}", err=True)
    typer.echo("Ctrl-C ends it.")
