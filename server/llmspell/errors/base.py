"""What every error is: a stable code, a message and a hint, and how it travels as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast


class LlmspellError(Exception):
    """Base of every error a caller can meet.

    Args:
        message: What happened, with identifiers in `!r`.
        hint: What to do about it; the class's own hint when absent.
        where: `file:line` in the author's file, when there is one.
        data: JSON object with the details a program may want.
        run_id: The run this ended, once it is known.
        traceback: Lines of the author's own call stack, when there is one.
    """

    code: ClassVar[str] = "internal"
    hint_text: ClassVar[str] = ""
    retryable: ClassVar[bool] = False
    kinds: ClassVar[Mapping[str, type[LlmspellError]]] = {}
    """Every code with its class; filled in by `errors.catalogue`, which knows all of them."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        where: str | None = None,
        data: dict[str, Any] | None = None,
        run_id: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.hint_text
        self.where = where
        self.data = data or {}
        self.run_id = run_id
        self.traceback = traceback

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message} {{code: {self.code}}}"

    def report(self) -> str:
        """Return the text shown to a person: the error, its hint, its run, one a line."""
        lines = [str(self)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        if self.traceback:
            lines += [f"  {line}" for line in self.traceback.splitlines()]
        if self.run_id:
            lines.append(f"  run: {self.run_id}")
        return "\n".join(lines)

    def to_value(self) -> dict[str, Any]:
        """Return the error as a JSON object; absent parts are left out."""
        value: dict[str, Any] = {"code": self.code, "message": self.message}
        for name in ("hint", "where", "data", "run_id", "traceback"):
            part = getattr(self, name)
            if part:
                value[name] = part
        return value

    @classmethod
    def from_value(cls, value: dict[str, Any]) -> LlmspellError:
        """Rebuild an error from `to_value()`; an unknown code becomes `InternalError`."""
        kind = cls.kinds.get(str(value.get("code")), cls.kinds["internal"])
        data: Any = value.get("data")
        # Values can come from a script: parts of another type than they should have are dropped.
        texts = {
            name: text if isinstance(text := value.get(name), str) else None
            for name in ("hint", "where", "run_id", "traceback")
        }
        return kind(
            str(value.get("message", "")),
            data=cast("dict[str, Any]", data) if isinstance(data, dict) else None,
            **texts,
        )

    def with_run(self, run_id: str) -> Self:
        """Set the run this error ended, unless one is set, and return the error."""
        if self.run_id is None:
            self.run_id = run_id
        return self
