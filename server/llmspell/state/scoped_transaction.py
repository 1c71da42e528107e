"""A transaction over the scopes that one run of a spell may use.

The writes are gathered by whoever runs the transaction and come with the commit;
its reads show the state as it was when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmspell.clock import Clock
from llmspell.effects.effect import StateScope, StateWrite
from llmspell.errors import StateConflict
from llmspell.state.scope_keys import Place, bounds
from llmspell.state.scope_values import encoded, expiry, limited, shown_entry, shown_page
from llmspell.state.store import Durability, Store, Write
from llmspell.state.transactions import Transaction
from llmspell.values import JSON, Object


class ScopedTransaction:
    """One transaction, made by `Scopes.transaction`; it may be renewed after a conflict."""

    def __init__(self, store: Store, place: Place, clock: Clock) -> None:
        self._store = store
        self._place = place
        self._clock = clock
        self._transaction = Transaction(store, place.caller.tenant)

    def get(self, scope: StateScope, key: str) -> list[JSON]:
        """Return `[value, version]` as it was then, `[None, None]` when the key was absent.

        Raises:
            StateError: The key is none.
            StateTooLarge: The transaction reads too many keys.
        """
        return shown_entry(key, self._transaction.get(self._place.path(scope, key)))

    def scan(
        self,
        scope: StateScope,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> Object:
        """Return what `Scopes.scan` would have returned then.

        Raises:
            StateError: `limit` is out of range.
            StateTooLarge: The transaction reads too many keys.
        """
        limit = limited(limit)
        path, low, high = bounds(self._place.root(scope), prefix, after, reverse=reverse)
        rows = self._transaction.scan(
            path, after=low, before=high, limit=limit + 1, reverse=reverse, partial=True
        )
        return shown_page(rows, limit)

    async def commit(
        self,
        writes: Sequence[StateWrite],
        *,
        record: Callable[[], Sequence[Write]] | None = None,
        durability: Durability = Durability.DURABLE,
    ) -> None:
        """Write all or nothing, and end this.

        Args:
            writes: In order; the last of a key counts.
            record: Gives writes to other families that belong to the same batch.
            durability: What has to hold before this returns.

        Raises:
            StateConflict: Something it read has changed. `renew` it, then try again.
            StateTooLarge: It writes more than a transaction may.
            StateQuota: More would be held than may be.
        """
        for write in writes:
            path = self._place.path(write.scope, write.key)
            if write.is_delete:
                self._transaction.delete(path)
            else:
                expires_at = expiry(self._clock.time(), write.ttl_seconds)
                self._transaction.put(path, encoded(write.value), expires_at=expires_at)
        try:
            await self._transaction.commit(record() if record else (), durability=durability)
        except StateConflict as error:
            raise StateConflict(
                "what the transaction read has changed meanwhile", hint="begin it again"
            ) from error

    def renew(self) -> None:
        """Begin anew: with the state as it is now, and nothing read."""
        self._transaction.close()
        self._transaction = Transaction(self._store, self._place.caller.tenant)

    def close(self) -> None:
        """End this without writing. Twice is no error."""
        self._transaction.close()
