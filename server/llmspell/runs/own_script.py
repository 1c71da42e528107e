"""The script of one cast: opened when something first needs it, once, and closed with the cast.

What is declared in a file while that is cast works in the same script, so its casts share
this. What a script is told and asks for is `scripting`'s part.
"""

from __future__ import annotations

import asyncio

from llmspell.runs.scripting import ScriptSession
from llmspell.runs.work import Work
from llmspell.runtime.engine import ScriptContext


class OwnScript:
    """Opens the script of the castable that is at work.

    Args:
        work: Of the run whose script it is.
        is_child: Whether another cast waits for that run: it must not wait behind that one.
    """

    def __init__(self, work: Work, *, is_child: bool) -> None:
        self._work = work
        self._is_child = is_child
        self._session: ScriptSession | None = None
        self._is_opening = False
        self._opened: asyncio.Event | None = None  # set once who opens it has, or could not

    async def session(self) -> ScriptSession:
        """Return the session of the script, opening it when nobody has.

        Raises:
            LlmspellError: It could not be opened.
        """
        while self._session is None:
            if self._is_opening:  # by another branch of the same cast
                if self._opened is None:
                    self._opened = asyncio.Event()
                await self._opened.wait()
                continue
            self._is_opening = True
            try:
                self._session = await self._open()
            finally:
                self._is_opening = False
                if self._opened is not None:
                    self._opened.set()
                    self._opened = None
        return self._session

    async def close(self) -> None:
        """End the script, if there is one, with every effect it waits for."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _open(self) -> ScriptSession:
        work = self._work
        castable, run = work.castable, work.live.run
        assert castable.program is not None  # else another cast's script is shared
        script = await castable.engine.open(
            castable.program,
            castable.limits_within(work.services.script_limits),
            ScriptContext(
                run_id=run.id,
                session=run.session,
                user=run.principal,
                tenant=run.tenant,
                deadline=run.created_at + run.seconds if run.seconds is not None else None,
                now=run.created_at,
                seed=(run.seed or run.id).encode(),
                message=work.caller.message,
                steps=work.journal.steps(),
            ),
            is_child=self._is_child,
        )
        session = ScriptSession(script, work.journal, work.tree, work.services.pace)
        if not run.source:
            session.load(castable.declaration)
        return session
