"""Where one request ends and what it asks for: uvicorn's reading, where it departs from HTTP/1.1.

uvicorn serves a request that names its host in its target as if it did not, takes the body of one
that offers another protocol for something in that, and answers what is no request in the place of
a request before it. How long a connection waits for anything is said in `connections`.
"""

from __future__ import annotations

import re
from abc import abstractmethod

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

NO_REQUEST = "Invalid HTTP request received."
"""What is logged and answered, in uvicorn's words."""

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)")


class FramedProtocol(HttpToolsProtocol):
    """One connection of which requests are read."""

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self._refuse_other()
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                elif self.scope["method"] == "CONNECT":
                    self._refuse_other()  # what follows would be no HTTP
                else:
                    data = self._head_without_upgrade() + data[upgrade.args[0] :]
                    continue
            return

    def on_headers_complete(self) -> None:
        """Begin with a request, unless it offers another protocol."""
        if self.url[:1] != b"/":
            self.url = take_authority(self.url, self.headers)
        if self.parser.should_upgrade():
            self.scope["method"] = self.parser.get_method().decode()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request has come whole."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    @abstractmethod
    def refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close the connection."""

    def _refuse_other(self) -> None:
        self.logger.warning(NO_REQUEST)
        self.refuse(400, NO_REQUEST)

    def _head_without_upgrade(self) -> bytes:
        """Return the head that was read, without its offer of another protocol, to be read again.

        RFC 9110 7.8: the offer may be ignored. The parser does not: it takes what follows for
        something in the other protocol, where for the client it is the body.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.scope["method"].encode(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def take_authority(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a target without the host it names, which is the header `Host` from now on.

    RFC 9112 3.2.2: clients name it to proxies, and servers take it too; then it counts, and not
    the header.

    Args:
        headers: Those of the request, names in lower case. `Host` is not replaced where it stands
            more than once: such a request is refused.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    authority, rest = found.groups()
    places = [place for place, (name, _) in enumerate(headers) if name == b"host"]
    if len(places) == 1:
        headers[places[0]] = (b"host", authority)
    elif not places:
        headers.append((b"host", authority))
    return rest if rest.startswith(b"/") else b"/" + rest
