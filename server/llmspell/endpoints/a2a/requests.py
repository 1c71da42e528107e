"""Params of an operation, read into what the handler works with.

The SDK's protobuf types decide what is valid (ProtoJSON: camelCase or
snake_case names, unknown members ignored). Beyond them stand the rules of
specification 3.1 and 4.1 that protobuf cannot express: required fields,
ranges, a part with content. Free JSON (`data`, `metadata`) is taken from the
params themselves: protobuf would turn 3 into 3.0 and forget the order of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE, MAX_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import ContentTypeNotSupportedError, PushNotificationNotSupportedError
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message as ProtobufMessage

from llmspell.endpoints.a2a.errors import invalid_params
from llmspell.runs.record import RunState
from llmspell.values import Object

SKILL_KEY = "llmspell/skill"
"""Key of a message's metadata that names the skill it is for."""

INPUT_MODES = ("text/plain", "application/json")
"""Media types a message's parts may have, as the card declares them."""

MAX_CONTEXT_ID = 256

_M = TypeVar("_M", bound=ProtobufMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """A message to a skill, or to a task that waits for one."""

    message: Object
    """The message as A2A JSON, in its canonical names."""
    task_id: str
    """The task it goes to, "" for a new one."""
    context_id: str
    """The conversation it belongs to, "" for a new one."""
    skill: str | None
    return_immediately: bool
    history_length: int | None


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A question about one task."""

    id: str
    history_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """A question for the tasks of the caller."""

    context_id: str | None
    state: RunState | None
    updated_after: float | None
    page_size: int
    page_token: str | None
    history_length: int | None
    include_artifacts: bool


def send_request(params: Object) -> SendRequest:
    """Return the request of `SendMessage` and `SendStreamingMessage`.

    Raises:
        A2AError: Invalid params, a media type we do not take, or a push configuration.
    """
    parsed = _parse(params, pb.SendMessageRequest())
    configuration = parsed.configuration
    if configuration.HasField("task_push_notification_config"):
        raise PushNotificationNotSupportedError
    sent: Object = params.get("message") or {}
    message = _message(parsed.message, sent)
    context_id = parsed.message.context_id
    if len(context_id) > MAX_CONTEXT_ID or not context_id.isprintable():
        reason = f"is a printable text of at most {MAX_CONTEXT_ID} characters"
        raise invalid_params("message.contextId", reason)
    own: Object = sent.get("metadata") or {}
    beside: Object = params.get("metadata") or {}
    skill = own.get(SKILL_KEY, beside.get(SKILL_KEY))
    if skill is not None and not isinstance(skill, str):
        raise invalid_params(f"metadata[{SKILL_KEY!r}]", "is the name of a skill")
    return SendRequest(
        message=message,
        task_id=parsed.message.task_id,
        context_id=context_id,
        skill=skill,
        return_immediately=configuration.return_immediately,
        history_length=_history_length(configuration),
    )


def get_request(params: Object) -> TaskRequest:
    """Return the request of `GetTask`.

    Raises:
        A2AError: Invalid params.
    """
    parsed = _parse(params, pb.GetTaskRequest())
    return TaskRequest(_required("id", parsed.id), _history_length(parsed))


def cancel_request(params: Object) -> TaskRequest:
    """Return the request of `CancelTask`.

    Raises:
        A2AError: Invalid params.
    """
    return TaskRequest(_required("id", _parse(params, pb.CancelTaskRequest()).id))


def subscribe_request(params: Object) -> TaskRequest:
    """Return the request of `SubscribeToTask`.

    Raises:
        A2AError: Invalid params.
    """
    return TaskRequest(_required("id", _parse(params, pb.SubscribeToTaskRequest()).id))


def list_request(params: Object) -> ListRequest:
    """Return the request of `ListTasks`.

    Raises:
        A2AError: Invalid params.
    """
    parsed = _parse(params, pb.ListTasksRequest())
    size = parsed.page_size if parsed.HasField("page_size") else DEFAULT_LIST_TASKS_PAGE_SIZE
    if not 1 <= size <= MAX_LIST_TASKS_PAGE_SIZE:
        raise invalid_params("pageSize", f"is between 1 and {MAX_LIST_TASKS_PAGE_SIZE}")
    if "status" in params and not parsed.status:
        raise invalid_params("status", "is the name of a task state")
    after: float | None = None
    if parsed.HasField("status_timestamp_after"):
        after = parsed.status_timestamp_after.ToNanoseconds() / 1e9
    return ListRequest(
        context_id=parsed.context_id or None,
        state=_state(parsed.status),
        updated_after=after,
        page_size=size,
        page_token=parsed.page_token or None,
        history_length=_history_length(parsed),
        include_artifacts=parsed.include_artifacts,
    )


def _message(message: pb.Message, sent: Object) -> Object:
    _required("message.messageId", message.message_id)
    if message.role != pb.ROLE_USER:
        raise invalid_params("message.role", "is ROLE_USER")
    if not message.parts:
        raise invalid_params("message.parts", "has at least one part")
    canonical: Object = MessageToDict(message)
    for number, (part, raw) in enumerate(zip(message.parts, sent["parts"], strict=True)):
        if part.WhichOneof("content") is None:
            reason = "has one of text, data, raw and url"
            raise invalid_params(f"message.parts[{number}]", reason)
        _check_media_type(part)
        for name in ("data", "metadata"):
            if name in raw:
                canonical["parts"][number][name] = raw[name]
    if sent.get("metadata"):
        canonical["metadata"] = sent["metadata"]
    return canonical


def _check_media_type(part: pb.Part) -> None:
    media_type = part.media_type.partition(";")[0].strip().lower()
    is_text = part.WhichOneof("content") == "text" and media_type.startswith("text/")
    if media_type and not is_text and media_type not in INPUT_MODES:
        raise ContentTypeNotSupportedError(
            f"the media type {media_type!r} is not supported; supported: {', '.join(INPUT_MODES)}"
        )


def _state(status: pb.TaskState) -> RunState | None:
    if not status:
        return None
    name = pb.TaskState.Name(status).removeprefix("TASK_STATE_").lower()
    return cast("RunState", name)


def _history_length(
    message: pb.GetTaskRequest | pb.ListTasksRequest | pb.SendMessageConfiguration,
) -> int | None:
    if not message.HasField("history_length"):
        return None
    if message.history_length < 0:
        raise invalid_params("historyLength", "is not negative")
    return message.history_length


def _required(field: str, value: str) -> str:
    if not value:
        raise invalid_params(field, "is required")
    return value


def _parse(params: Object, message: _M) -> _M:
    try:
        return ParseDict(params, message, ignore_unknown_fields=True)
    except ParseError as error:  # also for what is nested more than 100 deep
        raise invalid_params("params", str(error).strip()) from None
    except OverflowError as error:  # a whole number that no double is near to
        raise invalid_params("params", str(error)) from None
