"""The `requestState` of a call that waits for input: sealed, so that what comes back is ours.

The specification has a server take it as an attacker's. It holds which run it
is about and whose; the key is kept with the state directory, so a state given
out before a restart is good after it.
"""

from __future__ import annotations

import secrets
import time

import msgspec
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from llmspell.host.door_records import DoorRecords
from llmspell.security.principals import Caller

_KIND = "mcp.seal"
_ID = "key"


class _State(msgspec.Struct, frozen=True):
    run: str
    subject: str
    """Tool the call was of: its retry is one of the same."""
    principal: str
    tenant: str
    expires: float
    keys: dict[str, str]
    """Ids of the questions that were asked, by what the client calls them."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_State).decode


class Sealing:
    """Seals and opens request states. The key is made at first use."""

    def __init__(self, records: DoorRecords) -> None:
        self._records = records
        self._codec: AESGCMRequestStateCodec | None = None

    async def seal(
        self, run_id: str, subject: str, caller: Caller, keys: dict[str, str], expires: float
    ) -> str:
        """Return the state of a call that goes on with a run, good until a Unix time.

        Args:
            keys: Ids of the questions that are asked, by what the client calls them.
        """
        state = _State(run_id, subject, caller.principal, caller.tenant, expires, keys)
        return (await self._opened()).seal(_encode(state))

    async def open(self, sealed: str, subject: str, caller: Caller) -> tuple[str, dict[str, str]]:
        """Return the run a sealed state is about, and the questions' ids by key.

        Raises:
            ValueError: It is not ours, of somebody else, of another call, or too old.
        """
        codec = await self._opened()
        try:
            state = _decode(codec.unseal(sealed))
        except (InvalidRequestState, msgspec.DecodeError) as error:
            raise ValueError("it was not made here, or changed since") from error
        if (state.principal, state.tenant) != (caller.principal, caller.tenant):
            raise ValueError("it was given to somebody else")
        if state.subject != subject:
            raise ValueError("it was given for another call")
        if state.expires < time.time():
            raise ValueError("it has expired")
        return state.run, state.keys

    async def _opened(self) -> AESGCMRequestStateCodec:
        if self._codec is None:
            kept = await self._records.get(_KIND, _ID)
            if kept is None:
                kept = {"key": secrets.token_bytes(32)}
                await self._records.put(_KIND, _ID, kept)
            self._codec = self._codec or AESGCMRequestStateCodec([kept["key"]])
        return self._codec
