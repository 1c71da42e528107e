"""The bundled spell `follow_up`; that it asks again after its time is told by its own tests."""

from __future__ import annotations

from llmspell.host.host import Host
from llmspell.security.principals import local_caller


async def test_it_waits_for_an_answer_and_ends_when_it_is_done(host: Host) -> None:
    caller = local_caller()
    run = await host.start("follow_up", {"what": "the report"}, caller=caller)
    asking = await run.result()
    assert asking.state == "input_required"
    [question] = (await run.record()).questions
    assert question.message == "Is it done: the report?"
    await run.answer({"done": True}, question=question.id)
    outcome = await run.result()
    assert (outcome.state, outcome.output) == ("completed", {"asked": 1})
