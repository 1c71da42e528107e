"""The states of a worker, one for each script: set back where that can be done, else made anew."""

from __future__ import annotations

from llmspell.runtime.lua.cell import Cell, Kernel
from llmspell.runtime.lua.snapshot import SnapshotCell


class Cells:
    """Hands out a state in which no script has run; one is kept ready.

    Args:
        kernel: What `compile_kernel` returned.
        set_back: Whether states are set back; see `missing_library`.
    """

    def __init__(self, kernel: Kernel, *, set_back: bool) -> None:
        self._kernel = kernel
        self.restorable = SnapshotCell(kernel) if set_back else None
        """The state that is set back, if there is one."""
        self._ready: Cell | SnapshotCell | None = self.restorable or Cell(kernel)

    def take(self, *, hook_seconds: float) -> Cell | SnapshotCell:
        """Return the state of the next script.

        Args:
            hook_seconds: See `Cell`; another than 0 is another kind of state.
        """
        if hook_seconds and self.restorable is not None:
            return SnapshotCell(self._kernel, hook_seconds=hook_seconds)
        ready, self._ready = self._ready, None
        if ready is None or hook_seconds:
            return Cell(self._kernel, hook_seconds=hook_seconds)
        return ready

    def renew(self) -> None:
        """Make the next state ready. Call it when the script's is used no more and let go of."""
        if self.restorable is not None:
            self.restorable.restore()
        self._ready = self.restorable or Cell(self._kernel)
