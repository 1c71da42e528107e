"""Frames from a worker, read as lists: how tests tell what they expect."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.runtime import wire


def events_of(frame: bytes) -> list[list[Any]]:
    """Return the events of a frame, each as the list it is on the wire."""
    return [_as_list(event) for event in wire.unpack(frame)]


def _as_list(event: wire.Event) -> list[Any]:
    if isinstance(event, wire.LoadedEvent) and event.declaration is msgspec.UNSET:
        return ["loaded"]
    return [event.__struct_config__.tag, *msgspec.structs.astuple(event)]
