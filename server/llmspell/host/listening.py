"""The socket an owner is reached by: bound before anything else is loaded, served when all is.

Whoever dials meanwhile is let in by the kernel and waits, instead of looking
for an owner or starting another one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from llmspell.bridge.sockets import SOCKET_NAME, bound_socket
from llmspell.bridge.spawning import private_directory

BACKLOG = 128
"""How many may wait to be let in."""


class Listener:
    """The listening socket of a state directory, until `close`.

    Only the holder of the directory's lock makes one, so whatever bears the
    socket's name is a dead owner's and is replaced.

    Args:
        state: The state directory.
        environ: Where the runtime directory is looked up when the path is too long.

    Raises:
        OSError: It can't be bound.
    """

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        self._link = state / SOCKET_NAME
        self._bound = bound_socket(state, environ)
        private_directory(self._bound.parent)
        # The name appears only when it accepts.
        temporary = self._bound.with_name(f"s.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.bind(os.fspath(temporary))
            temporary.chmod(0o600)
            self.socket.listen(BACKLOG)
            temporary.replace(self._bound)
            if self._bound != self._link:
                self._point_to_it()
        except BaseException:  # whatever ends this, the socket must not stay open
            self.socket.close()
            raise

    def _point_to_it(self) -> None:
        temporary = self._link.with_name(f"s.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self._bound)
        temporary.replace(self._link)

    def unlink(self) -> None:
        """Take the name away: whoever comes now finds nobody. Doing so twice is no error."""
        for path in {self._link, self._bound}:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop listening; whoever waits to be let in is hung up on. Idempotent."""
        self.unlink()
        self.socket.close()
