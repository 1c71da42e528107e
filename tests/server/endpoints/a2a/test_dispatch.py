"""One request to its answer: versions, methods, and the one table of errors."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from a2a.utils.errors import TaskNotFoundError

from llmspell.endpoints.a2a.dispatch import Dispatcher, RequestFailed
from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.errors import (
    InputInvalid,
    LimitBusy,
    LlmspellError,
    RunNotCancelable,
    RunNotFound,
    RunNotWaiting,
    SpellNotFound,
    StateTooLarge,
    UsageError,
)
from llmspell.security.principals import Caller, local_caller
from llmspell_protocols.a2a.methods import METHODS
from tests.support.a2a import message, open_host

V1 = {"a2a-version": "1.0"}
ME = local_caller("a2a")


async def refused(dispatcher: Dispatcher, method: str, params: Any = None, **more: Any) -> Any:
    with pytest.raises(RequestFailed) as caught:
        await dispatcher.call(method, params or {}, more.get("parameters", V1), ME)
    return caught.value.error


async def first(dispatcher: Dispatcher, method: str, params: Any, caller: Caller = ME) -> Any:
    async with aclosing(dispatcher.stream(method, params, V1, caller)) as items:
        return await anext(items)


@pytest.mark.parametrize("version", ["", "0.3", "2.0", "10", "1.x", "99.0", "one"])
async def test_a_version_other_than_1_is_refused_and_the_supported_ones_are_named(
    version: str, tmp_path: Path
):
    async with open_host(tmp_path, "echo") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        error = await refused(dispatcher, "GetTask", parameters={"a2a-version": version})
        assert error.code == -32009
        assert "supported: 1.0" in error.message
        assert error.data[0]["reason"] == "VERSION_NOT_SUPPORTED"
        assert error.data[0]["metadata"] == {"supportedVersions": "1.0"}


@pytest.mark.parametrize("version", ["1", "1.0", "1.1", " 1.0.3 "])
async def test_any_version_1_is_taken(version: str, tmp_path: Path):
    async with open_host(tmp_path, "echo") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        answer: Any = await dispatcher.call(
            "SendMessage", message("hi"), {"a2a-version": version}, ME
        )
        assert answer["task"]["artifacts"][0]["parts"] == [{"text": "hi"}]


async def test_every_operation_of_the_table_is_answered_and_no_other(tmp_path: Path):
    async with open_host(tmp_path, "echo") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        for method in METHODS.values():
            if method.streaming:
                with pytest.raises(RequestFailed) as caught:
                    await first(dispatcher, method.name, {})
                assert caught.value.error.code == -32602
                assert (await refused(dispatcher, method.name)).code == -32600
            elif method.name != "ListTasks":
                assert (await refused(dispatcher, method.name)).code != -32601
        for name in ("hello", "message/send", "getTask", ""):
            assert (await refused(dispatcher, name)).code == -32601
        with pytest.raises(RequestFailed) as caught:
            await first(dispatcher, "hello", {})
        assert caught.value.error.code == -32601


async def test_the_extended_card_is_unsupported_as_the_card_says(tmp_path: Path):
    async with open_host(tmp_path, "echo") as host:
        assert (await refused(Dispatcher(TaskHandler(host)), "GetExtendedAgentCard")).code == -32004


async def test_an_input_that_does_not_fit_names_its_field(tmp_path: Path):
    async with open_host(tmp_path, "add") as host:
        params = message({"data": {"a": "x", "b": 1}})
        error = await refused(Dispatcher(TaskHandler(host)), "SendMessage", params)
        assert error.code == -32602
        assert error.data[0]["metadata"]["code"] == "input.invalid"
        assert error.data[1]["@type"].endswith("BadRequest")
        assert error.data[1]["fieldViolations"][0]["field"] == "a"


async def test_another_principals_task_is_answered_as_one_that_never_was(tmp_path: Path):
    async with open_host(tmp_path, "echo") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        answer: Any = await dispatcher.call("SendMessage", message("hi"), V1, ME)
        id = answer["task"]["id"]
        other = Caller(principal="somebody else", door="a2a")
        with pytest.raises(RequestFailed) as caught:
            await dispatcher.call("GetTask", {"id": id}, V1, other)
        theirs = caught.value.error
        never = await refused(dispatcher, "GetTask", {"id": "0" * len(id)})
        assert (theirs.code, theirs.data[0]["reason"]) == (never.code, never.data[0]["reason"])
        assert theirs.message.replace(id, "") == never.message.replace("0" * len(id), "")
        page: Any = await dispatcher.call("ListTasks", {}, V1, other)
        assert page == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}


async def test_a_wrong_context_or_page_token_is_invalid_params(tmp_path: Path):
    async with open_host(tmp_path) as host:
        dispatcher = Dispatcher(TaskHandler(host))
        answer: Any = await dispatcher.call("SendMessage", message("hi"), V1, ME)
        wrong = message("echo", taskId=answer["task"]["id"], contextId="another")
        assert (await refused(dispatcher, "SendMessage", wrong)).code == -32602
        assert (await refused(dispatcher, "ListTasks", {"pageToken": "x"})).code == -32602


async def test_a_message_for_another_skill_than_the_tasks_is_invalid_params(tmp_path: Path):
    async with open_host(tmp_path) as host:
        dispatcher = Dispatcher(TaskHandler(host))
        params = {**message("x", skill="pieces"), "configuration": {"returnImmediately": True}}
        answer: Any = await dispatcher.call("SendMessage", params, V1, ME)
        id = answer["task"]["id"]
        other = message("x", skill="echo", taskId=id)
        assert (await refused(dispatcher, "SendMessage", other)).code == -32602
        # It is at work and asked nothing.
        same = message("x", skill="pieces", taskId=id)
        assert (await refused(dispatcher, "SendMessage", same)).code == -32004
        await dispatcher.call("CancelTask", {"id": id}, V1, ME)


async def test_history_is_left_out_when_none_is_asked_for(tmp_path: Path):
    async with open_host(tmp_path, "echo") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        params = {**message("hi"), "configuration": {"historyLength": 0}}
        answer: Any = await dispatcher.call("SendMessage", params, V1, ME)
        assert "history" not in answer["task"]
        got: Any = await dispatcher.call("GetTask", {"id": answer["task"]["id"]}, V1, ME)
        assert [each["messageId"] for each in got["history"]] == ["m-1"]


async def test_the_default_of_the_settings_answers_a_message_without_a_skill(tmp_path: Path):
    async with open_host(tmp_path) as host:
        dispatcher = Dispatcher(TaskHandler(host, default_skill="count"))
        answer: Any = await dispatcher.call("SendMessage", message("one two"), V1, ME)
        assert answer["task"]["metadata"]["llmspell/spell"] == "count"


async def test_a_question_for_the_input_is_answered_with_data(tmp_path: Path):
    async with open_host(tmp_path, "add") as host:
        dispatcher = Dispatcher(TaskHandler(host))
        asked: Any = await dispatcher.call("SendMessage", message("two and three"), V1, ME)
        task = asked["task"]
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        assert task["status"]["message"]["parts"][1]["data"]["skill"] == "add"
        answer = message({"data": {"a": 2, "b": 3}}, id="m-2", taskId=task["id"])
        done: Any = await dispatcher.call("SendMessage", answer, V1, ME)
        assert done["task"]["artifacts"][0]["parts"][0]["data"] == {"sum": 5}


async def test_a_question_is_streamed_and_ends_the_stream_and_so_is_the_carrying_on(tmp_path: Path):
    async with open_host(tmp_path) as host:
        dispatcher = Dispatcher(TaskHandler(host))
        items = [
            item async for item in dispatcher.stream("SendStreamingMessage", message("hi"), V1, ME)
        ]
        assert [next(iter(item)) for item in items] == ["task", "statusUpdate"]
        assert items[1]["statusUpdate"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        answer = message("echo", id="m-2", taskId=items[0]["task"]["id"])
        items = [item async for item in dispatcher.stream("SendStreamingMessage", answer, V1, ME)]
        assert items[0]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        states = [
            item["statusUpdate"]["status"]["state"] for item in items if "statusUpdate" in item
        ]
        assert states == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RunNotFound("x"), -32001, "TASK_NOT_FOUND"),
        (RunNotCancelable("x"), -32002, "TASK_NOT_CANCELABLE"),
        (RunNotWaiting("x"), -32004, "UNSUPPORTED_OPERATION"),
        (InputInvalid("x"), -32602, "INVALID_PARAMS"),
        (SpellNotFound("x"), -32602, "INVALID_PARAMS"),
        (UsageError("x"), -32602, "INVALID_PARAMS"),
        (LlmspellError("x"), -32603, "INTERNAL_ERROR"),
        (StateTooLarge("x"), -32602, "INVALID_PARAMS"),
        (TaskNotFoundError(), -32001, "TASK_NOT_FOUND"),
    ],
)
def test_each_error_has_its_code_and_reason(error: Exception, code: int, reason: str):
    shown = error_of(error)
    assert (shown.code, shown.data[0]["reason"]) == (code, reason)
    assert shown.data[0]["@type"].endswith("ErrorInfo")


def test_an_error_of_ours_brings_its_code_hint_and_run():
    shown = error_of(LimitBusy("full", run_id="r1"))
    assert shown.data[0]["metadata"] == {
        "code": "limit.busy",
        "hint": "try again in a moment",
        "run_id": "r1",
        "retryable": "true",
    }


def test_what_is_no_error_of_the_catalogue_keeps_its_text_to_itself(
    caplog: pytest.LogCaptureFixture,
):
    shown = error_of(RuntimeError("the password is x"))
    assert (shown.code, shown.message) == (-32603, "internal error")
    assert "password" not in str(shown.data)
    assert "the password is x" in caplog.text
