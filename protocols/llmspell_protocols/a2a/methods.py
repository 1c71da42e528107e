"""The operations of A2A 1.0 and which of them answer with a stream.

Names are those of the JSON-RPC binding (specification 9.1, 9.4), which the
WebSocket binding shares. What an operation does is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Method(NamedTuple):
    """One operation."""

    name: str
    streaming: bool = False


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("SendMessage"),
            Method("SendStreamingMessage", streaming=True),
            Method("GetTask"),
            Method("ListTasks"),
            Method("CancelTask"),
            Method("SubscribeToTask", streaming=True),
            Method("CreateTaskPushNotificationConfig"),
            Method("GetTaskPushNotificationConfig"),
            Method("ListTaskPushNotificationConfigs"),
            Method("DeleteTaskPushNotificationConfig"),
            Method("GetExtendedAgentCard"),
        )
    }
)
"""Every operation by its name."""


def is_streaming(name: str) -> bool:
    """Return whether the operation answers with a stream; False for an unknown name."""
    method = METHODS.get(name)
    return method is not None and method.streaming
