"""A transport that sends the head of a response together with what comes right behind it.

uvicorn writes the two one after the other, and each is a system call that wakes
the client. Only a head is held, and for one turn of the event loop at most.
"""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "


class HeadHoldingTransport(asyncio.Transport):
    """See above.

    Args:
        inner: What it stands for. Nobody else writes to it.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self.inner = inner
        self._loop = asyncio.get_running_loop()
        self._held = b""
        # Asked at each request, and told by nobody but the transport itself.
        self.is_closing = inner.is_closing
        self.get_extra_info = inner.get_extra_info
        self.pause_reading = inner.pause_reading
        self.resume_reading = inner.resume_reading

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send data, or hold it when it is a head."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data[: len(_HEAD)] == _HEAD:
            self._held = bytes(data)
            self._loop.call_soon(self.flush)
            return
        self.inner.write(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held = self._held, b""
            if not self.inner.is_closing():
                self.inner.write(held)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self.inner.get_write_buffer_size() + len(self._held)

    def close(self) -> None:
        """Send what is left, then close the connection."""
        self.flush()
        self.inner.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._held = b""
        self.inner.abort()
