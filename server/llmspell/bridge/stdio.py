"""`llmspell stdio`: lines between an MCP client on stdin/stdout and the owner's socket.

It forwards bytes and understands as little as it can: which lines are requests
and which answers, and the handshake of the older protocol revisions. So every
request is answered once, whatever becomes of the owner: when one dies, the next
is shown the handshake and asked again what was not answered, under the same
ids, by which it knows what it has performed already. When one takes long to
start, the first questions are answered from what the last one said.

Nothing but JSON-RPC goes to stdout; messages go to stderr.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

from llmspell.bridge.catalogue import KeptCatalogue
from llmspell.bridge.client import HIGH_WATER, Client
from llmspell.bridge.handshake import WISHES, Handshake
from llmspell.bridge.hello import BRIDGE, MAX_MESSAGE, PRIVATE, STOPPED, UnreachableError
from llmspell.bridge.ledger import MAX_REQUESTS, Asked, Ledger
from llmspell.bridge.lines import (
    answered,
    cancelled_key,
    is_request,
    key_of,
    member,
    message_of,
    result_line,
)
from llmspell.bridge.link import Link
from llmspell.bridge.meeting import SUCCESSOR_SECONDS, Address, Meeting, seek
from llmspell.bridge.refusals import (
    HAS_DIED,
    NO_MESSAGE,
    NOT_JSON,
    TOO_LONG,
    WAS_STOPPED,
    unreachable,
)
from llmspell.bridge.search import Search

LAST_ANSWER_SECONDS = 2.0
"""How long the owner may take to hang up once everything has been answered."""

CATALOGUE_SECONDS = 1.5
"""How long an owner may take to be met before the first questions are answered without it."""

_STANDING = "subscriptions/listen"
"""A request that is answered when it ends. Like a cancelled one, which may stay without an
answer, it is not waited for at the end of input."""

_ACKNOWLEDGED = b'"notifications/subscriptions/acknowledged"'
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_TOOLS_CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'


class Bridge:
    """One client's life at the bridge.

    Args:
        address: The owner to meet; it is met again, or started, when it has gone
            and the client is owed an answer or asks something.
        stdin: Descriptor the client writes to.
        stdout: Descriptor the client reads from.
        bundle: Whose spells the client is served; "" = everything.
    """

    def __init__(
        self, address: Address, stdin: int = 0, stdout: int = 1, *, bundle: str = ""
    ) -> None:
        self._address = address
        self._bundle = bundle
        self._client = Client(stdin, stdout)
        self._owner: Link | None = None
        self._search: Search | None = None
        self._ledger = Ledger()
        self._handshake = Handshake()
        self._kept: KeptCatalogue | None = None
        # Lines that are owed an answer and have no id to keep them by.
        self._nameless: list[bytes] = []
        self._asked_as = ""
        # Streams the client has been told of already, before it was asked for anew.
        self._acknowledged: set[str] = set()
        # Requests of the bridge's own; their answers are not the client's.
        self._tools_key = key_of(f"llmspell-bridge-{os.getpid()}-tools")
        self._own: set[str] = set()
        self._said = ""
        self._hang_up_at: float | None = None
        self._watched: set[int] = set()

    def run(self) -> int:
        """Pass lines until the client is done; return the exit status."""
        self._seek()
        poll = select.poll()
        while not self._done():
            self._watch(poll)
            for descriptor, event in poll.poll(self._patience()):
                if descriptor == self._client.stdout:
                    if event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                        return 0  # nobody reads any more
                    self._client.write()
                elif descriptor == self._client.stdin:
                    self._read_client()
                elif self._owner is not None and descriptor == self._owner.descriptor:
                    if event & ~select.POLLOUT:
                        self._read_owner()
                    if event & select.POLLOUT:
                        self._write_owner()
                elif self._search is not None and descriptor == self._search.descriptor:
                    self._advance()
            # At once where it can be, which spares a request and its answer a round each.
            if self._owner is not None and self._owner.waiting:
                self._write_owner()
            self._client.write_if_ready()
            self._tick(time.monotonic())
        if self._search is not None:
            self._search.close()
        return 0

    # -- the loop -------------------------------------------------------------

    @property
    def _can_ask(self) -> bool:
        """Whether more requests may come: all that no owner was asked yet is kept."""
        return self._owner is not None or len(self._ledger) < MAX_REQUESTS

    def _watch(self, poll: select.poll) -> None:
        client = self._client
        wanted: dict[int, int] = {client.stdout: select.POLLOUT if client.waiting else 0}
        waiting = self._owner.waiting if self._owner is not None else self._ledger.bytes
        has_room = client.has_room and waiting < HIGH_WATER
        if has_room and self._can_ask and not client.has_ended:
            wanted[client.stdin] = select.POLLIN
        if self._owner is not None:
            events = select.POLLIN if client.has_room else 0
            if waiting:
                events |= select.POLLOUT
            if events:
                wanted[self._owner.descriptor] = events
        elif self._search is not None and self._search.descriptor >= 0:
            wanted[self._search.descriptor] = select.POLLIN
        for descriptor in self._watched - wanted.keys():
            poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        self._watched = set(wanted)

    def _patience(self) -> float | None:
        """Return after how many milliseconds `_tick` has something to do; None = never."""
        now = time.monotonic()
        times: list[float] = []
        if self._hang_up_at is not None:
            times.append(self._hang_up_at - now)
        if self._search is not None:
            times.append(self._search.remaining(now))
            if self._kept is None:
                times.append(self._search.began + CATALOGUE_SECONDS - now)
        elif self._owner is not None and self._is_watching:
            times.append(self._owner.remaining(now))
        return max(0.0, min(times)) * 1000 if times else None

    @property
    def _is_watching(self) -> bool:
        """Whether the owner owes something, and could be heard."""
        return self._ledger.is_owing and self._client.has_room

    def _tick(self, now: float) -> None:
        """Do what time alone makes due."""
        search = self._search
        if search is not None:
            if search.remaining(now) <= 0:
                self._advance()
            if self._search is not None and now >= search.began + CATALOGUE_SECONDS:
                self._answer_without_owner()
        elif self._owner is not None:
            if self._is_watching:
                self._owner.watch(now)
            else:
                self._owner.relax(now)

    def _done(self) -> bool:
        """Whether input has ended and every answer has been passed on."""
        if not self._client.has_ended or self._client.waiting:
            return False
        if self._ledger.is_owing or self._nameless:
            return False
        if self._owner is None:
            return True
        if self._owner.waiting:
            return False
        if self._hang_up_at is None:
            self._hang_up_at = time.monotonic() + LAST_ANSWER_SECONDS
            self._owner.end_input()
        return time.monotonic() >= self._hang_up_at

    # -- from the client ------------------------------------------------------

    def _read_client(self) -> None:
        for line in self._client.read():
            if line is None:
                self._client.refuse(None, TOO_LONG)
            elif line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        """Note a client's line, and pass it on or have it wait for an owner."""
        message = message_of(line) or {}
        method = message.get("method")
        if is_request(message):
            if len(line) < MAX_MESSAGE:
                self._take_request(line, message, str(method))
            else:
                self._client.refuse(message["id"], TOO_LONG)
        elif isinstance(method, str) and "id" not in message:
            if method == "notifications/initialized":
                self._handshake.complete(line)
            elif method == "notifications/cancelled":
                self._ledger.cancel(cancelled_key(message), line)
            self._pass(line)
        elif method is None and ("result" in message or "error" in message):
            self._pass(line)
        elif line.startswith(PRIVATE):
            # The owner would take it for the bridge's own.
            self._client.refuse(None, NOT_JSON)
        else:
            # No answer can name it. The owner refuses it, and says why.
            self._nameless.append(line)
            self._pass_nameless()

    def _pass(self, line: bytes) -> None:
        """Pass on what has no answer; without an owner it concerns one that is gone."""
        if self._owner is not None:
            self._owner.send(line)

    def _take_request(self, line: bytes, message: dict[str, Any], method: str) -> None:
        key = key_of(message["id"])
        if method == "initialize":
            self._handshake.begin(message)
        elif method in WISHES:
            self._handshake.wish(key, message)
        if self._owner is not None and not self._ledger.is_owing:
            self._owner.relax(time.monotonic())
        asked = self._ledger.add(key, message["id"], line, is_standing=method == _STANDING)
        if self._owner is not None:
            self._ask(self._owner, asked)
            self._ledger.hold_bounds()
        elif self._search is None:
            self._seek()
        elif self._kept is not None:
            self._answer_kept(key, asked)

    def _pass_nameless(self) -> None:
        if self._owner is None:
            if self._search is None:
                self._seek()
            return
        for line in self._nameless:
            self._owner.send(line)
        self._nameless.clear()

    # -- finding an owner -----------------------------------------------------

    def _seek(self, grace: float = 0.0) -> None:
        bridge = self._ledger.bridge
        self._asked_as = bridge
        self._search = Search(
            seek(self._address, "mcp", bridge=bridge, bundle=self._bundle, grace=grace)
        )
        self._advance()

    def _advance(self) -> None:
        assert self._search is not None
        try:
            meeting = self._search.advance()
        except UnreachableError as error:
            self._search = None
            self._kept = None
            self._refuse(error)
            return
        if meeting is not None:
            self._search = None
            self._meet(meeting)

    def _meet(self, meeting: Meeting) -> None:
        """Show a new owner the handshake and ask it what is unanswered."""
        owner = self._owner = Link(meeting)
        self._said = ""
        self._own.clear()
        shown = self._handshake.lines()
        if shown:
            self._own.add(self._handshake.shown_key)
        for line in shown:
            owner.send(line)
        for key, line in self._handshake.wishes():
            self._own.add(key)
            owner.send(line)
        if self._kept is not None and self._kept.given_tools is not None:
            self._own.add(self._tools_key)
            identifier = self._tools_key.encode()
            owner.send(b'{"jsonrpc":"2.0","id":' + identifier + b',"method":"tools/list"}')
        for key, asked in self._ledger.unanswered():
            self._ask(owner, asked)
            follows = self._handshake.follows(key)
            if follows is not None:
                owner.send(follows)
            if asked.cancel is not None:
                owner.send(asked.cancel)
        self._pass_nameless()

    def _answer_without_owner(self) -> None:
        """Answer what can be answered from what the last owner said."""
        if self._kept is None:
            self._kept = KeptCatalogue(self._address.state, self._bundle)
            accepted = self._handshake.accepted
            if accepted is not None:
                self._kept.use_handshake(accepted)
            for key, asked in self._ledger.unanswered():
                self._answer_kept(key, asked)

    def _answer_kept(self, key: str, asked: Asked) -> None:
        request = None if asked.line is None else message_of(asked.line)
        result = None if request is None or self._kept is None else self._kept.answer(request)
        if result is not None:
            self._client.send(result_line(asked.identifier, result))
            self._handshake.answered(key, good=True)
            self._ledger.settle(key)

    def _refuse(self, error: UnreachableError) -> None:
        """There is no owner: say so in every answer that is owed."""
        said = f"llmspell: {error.message}\n  hint: {error.hint}"
        if said != self._said:  # it looks for an owner again with every request
            print(said, file=sys.stderr, flush=True)
        self._said = said
        refusal = unreachable(error)
        for asked in self._ledger.drop_all():
            self._client.refuse(asked.identifier, refusal)
        for _ in self._nameless:
            self._client.refuse(None, NO_MESSAGE)
        self._nameless.clear()

    # -- the owner ------------------------------------------------------------

    def _ask(self, owner: Link, asked: Asked) -> None:
        if asked.line is None:
            return  # it did not fit: the owner that has it may still answer
        if asked.bridge != self._asked_as:
            self._asked_as = asked.bridge
            owner.send(BRIDGE + asked.bridge.encode())
        owner.send(asked.line)

    def _write_owner(self) -> None:
        if self._owner is not None and not self._owner.write():
            # It has gone, but what it said before is still to be read.
            while self._read_owner():
                pass

    def _read_owner(self) -> bool:
        """Take what the owner sent; return whether there was any."""
        if self._owner is None:
            return False  # it was found to have gone in the same round
        try:
            lines = self._owner.read()
        except BlockingIOError:
            return False
        if lines is None:
            self._lose()
            return False
        for line in lines:
            if self._is_for_client(line):
                self._client.send(line, b"\n")
        return True

    def _is_for_client(self, line: bytes) -> bool:
        """Note what a line of the owner's says, and return whether the client is to see it."""
        if line.startswith(PRIVATE):
            if line == STOPPED:
                for asked in self._ledger.drop_all():
                    self._client.refuse(asked.identifier, WAS_STOPPED)
            return False
        found = answered(line) if len(self._ledger) or self._own else None
        if found is not None:
            key, good = found
            if key in self._own:
                self._own.discard(key)
                if key == self._tools_key:
                    self._compare_tools(line)
                elif not good and key == self._handshake.shown_key:
                    print("llmspell: the owner refuses the handshake", file=sys.stderr, flush=True)
                return False
            self._handshake.answered(key, good=good)
            self._ledger.settle(key)
            self._acknowledged.discard(key)
        elif len(self._ledger) and _ACKNOWLEDGED in line:
            return self._is_new_stream(line)
        return True

    def _is_new_stream(self, line: bytes) -> bool:
        key = key_of(member(message_of(line), "params", "_meta", _SUBSCRIPTION))
        if key in self._acknowledged:
            return False
        self._acknowledged.add(key)
        return True

    def _compare_tools(self, line: bytes) -> None:
        """Tell a client that was given a list of tools without an owner when it was another one."""
        given = self._kept.given_tools if self._kept is not None else None
        self._kept = None
        message = message_of(line) or {}
        if given is not None and message.get("result") != given:
            self._client.send(_TOOLS_CHANGED)

    def _lose(self) -> None:
        """The owner has gone: look for the next one if anything is unanswered."""
        assert self._owner is not None
        lost, self._owner = self._owner, None
        lost.close()
        self._kept = None
        for asked in self._ledger.lose().given_up:
            self._client.refuse(asked.identifier, HAS_DIED)
        # With nothing unanswered the next request brings back an owner: a stop must last.
        if (
            self._ledger.is_owing
            or self._nameless
            or (len(self._ledger) and not self._client.has_ended)
        ):
            self._seek(SUCCESSOR_SECONDS if lost.is_kept else 0.0)


def main(address: Address, bundle: str = "") -> int:
    """Be the bridge on stdin and stdout; return the exit status."""
    try:
        return Bridge(address, bundle=bundle).run()
    except KeyboardInterrupt:
        return 130
