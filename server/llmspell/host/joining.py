"""Casts that are one run: those with the same key, and the same casts of a spell that joins.

`host.keys` remembers which run a key began; here it is decided whether a cast
is that run, or a new one.
"""

from __future__ import annotations

import logging
from typing import cast

from llmspell.errors import InputInvalid, RunNotFound
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

        Without a key: the same cast that is under way, or a casting that others may join.
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
        if key is not None:
            # Whatever became of the spell since: who asks again, perhaps a bridge after its owner
            # was killed, means the run that was begun then.
            used, digest = key, digest_of(run.input)
        else:
            digest = digest_of(run.input, version=castable.version)
            used = joining_key(digest)
        found = await self._keys.find(caller, castable.name, used, digest)
        if found is not None:
            try:
                handle = await self._running.find(found, caller)
            except RunNotFound:
                log.debug("the run of key %r is gone", used)
            else:
                if key is not None or not (await handle.record()).is_final:
                    return handle
        self._new_runs.keyed(casting.live, castable, used)
        self._keys.begin(caller, castable.name, used, digest, run.id)
        return casting

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
