"""Casts that are one run: those with the same key, and the same casts of a spell that joins.

`host.keys` remembers which run a key began; here it is decided whether a cast
is that run, or a new one.
"""

from __future__ import annotations

import logging
from typing import cast

from llmspell.errors import InputInvalid, RunNotFound
from llmspell.host.handles import LiveHandle
from llmspell.host.keys import Keys, digest_of, joining_key
from llmspell.host.new_runs import NewRuns
from llmspell.host.preparing import Preparing
from llmspell.host.run_interface import RunHandle
from llmspell.host.running import Running
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.security.principals import Caller, local_caller
from llmspell.values import JSON, Object

log = logging.getLogger(__name__)


class Joining:
    """Finds the run that a cast is to be one with. Begins none."""

    def __init__(
        self, keys: Keys, running: Running, preparing: Preparing, new_runs: NewRuns
    ) -> None:
        self._keys = keys
        self._running = running
        self._preparing = preparing
        self._new_runs = new_runs

    async def begun(
        self,
        key: str | None,
        castable: Castable,
        input: JSON,
        caller: Caller | None,
        timeout: float | None,
    ) -> Casting | RunHandle:
        """Return the run that `key` began, or a casting that is the first with it.

        Where none was begun with the key, or there is no key: the same cast that is under way, if
        the spell joins, or a casting that others may join.
        The caller begins or keeps the casting before it waits for anything.

        Raises:
            InputInvalid: The input does not fit, and began no run while it did.
            IdempotencyConflict: `key` was used for something else.
            UsageError: It is no key.
        """
        caller = caller or local_caller()
        try:
            casting = self._preparing.casting(castable, input, caller, timeout)
        except InputInvalid:
            if key is not None and (
                begun := await self._begun_before(key, castable, input, caller)
            ):
                return begun
            raise
        run = casting.live.run
        digests: dict[str, bytes] = {}
        if key is not None:
            # Whatever became of the spell since: who asks again, perhaps a bridge after its owner
            # was killed, means the run that was begun then.
            digests[key] = digest_of(run.input)
        if castable.spec.join:
            digest = digest_of(run.input, version=castable.version)
            digests[joining_key(digest)] = digest
        looked_at: set[str] = set()
        while True:
            found = await self._keys.find(caller, castable.name, digests)
            used = next((each for each in found if found[each] not in looked_at), None)
            if used is None:
                break
            looked_at.add(found[used])
            handle = await self._found(found[used], caller)
            if handle is None:
                continue
            if used == key:
                return handle
            if not (await handle.record()).is_final:
                if key is not None and isinstance(handle, LiveHandle):
                    self._keys.begin(caller, castable.name, key, digests[key], handle.id)
                    self._new_runs.keyed(handle.live, castable)
                return handle
        # Nothing was waited for since: no other cast can have begun.
        run.key = next(iter(digests))
        for used, digest in digests.items():
            self._keys.begin(caller, castable.name, used, digest, run.id)
        self._new_runs.keyed(casting.live, castable)
        return casting

    async def _found(self, run_id: str, caller: Caller) -> RunHandle | None:
        try:
            return await self._running.find(run_id, caller)
        except RunNotFound:
            log.debug("run %s, which has a key, is gone", run_id)
            return None

    async def _begun_before(
        self, key: str, castable: Castable, input: JSON, caller: Caller
    ) -> RunHandle | None:
        """Return the run that a key began with an input that does not fit the spell any more."""
        found = await self._keys.run_of(caller, castable.name, key)
        if found is None:
            return None
        try:
            handle = await self._running.find(found, caller)
        except RunNotFound:
            return None
        begun: JSON = (await handle.record()).input
        if isinstance(input, dict) and isinstance(begun, dict):
            kept = cast(Object, begun)
            begun = {name: kept.get(name) for name in cast(Object, input)}  # without the defaults
        return handle if begun == input else None
