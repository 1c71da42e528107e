"""`State.transaction`, `State.watch`, options of `State`: what spells ask of the host, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import StateConflict, StateDiskFull
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import JSON
from tests.support.lua_scripts import Answer, Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Keeper:
    """A host with state in a dict; some commits find that what they read has changed.

    Args:
        values: By scope and key.
        conflicts: How many commits fail.
    """

    def __init__(self, values: Mapping[tuple[str, str], JSON], conflicts: int = 0) -> None:
        self.values = dict(values)
        self.conflicts = conflicts
        self.attempts = 0
        self.commits: list[Any] = []
        self.abandoned: list[Any] = []
        self.asked: list[str] = []

    def __call__(self, operation: str, arguments: Any) -> Any:
        self.asked.append(operation)
        match operation:
            case "state.begin":
                self.attempts = arguments["attempts"]
                return {"transaction": 7}
            case "state.tx_get":
                value = self.values.get((arguments["scope"], arguments["key"]))
                return [value, None if value is None else "01"]
            case "state.tx_scan":
                return self._scan(**arguments)
            case "state.commit":
                self.commits.append(arguments)
                if len(self.commits) <= self.conflicts:
                    if len(self.commits) == self.attempts:
                        raise StateConflict("changed too often")
                    return False
                self._write(arguments["writes"])
                return True
            case "state.abandon":
                self.abandoned.append(arguments)
            case _:
                pass
        return None

    def _scan(
        self,
        *,
        transaction: int,
        scope: str,
        prefix: str,
        limit: int,
        after: str | None = None,
        reverse: bool = False,
    ) -> Any:
        assert transaction == 7
        found = sorted(
            (key for place, key in self.values if place == scope and key.startswith(prefix)),
            reverse=reverse,
        )
        if after is not None:
            found = [key for key in found if (key < after if reverse else key > after)]
        limit = min(limit, 3)  # small pages: what is asked for must not be taken for granted
        items = [
            {"key": key, "value": self.values[scope, key], "version": "01"} for key in found[:limit]
        ]
        return {"items": items, "next": items[-1]["key"] if len(found) > limit else None}

    def _write(self, writes: list[Any]) -> None:
        for write in writes:
            place = write["scope"], write["key"]
            if write.get("delete"):
                self.values.pop(place, None)
            else:
                self.values[place] = write["value"]


async def test_a_transaction_reads_what_it_wrote_and_writes_at_its_end(lua: Bench) -> None:
    keeper = Keeper({("spell", "a"): 10, ("user", "gone"): True})
    outcome = await lua.body(
        """
        return State.transaction(function()
          local seen = {}
          State.set("a", State.get "a" - 3)
          State.increment("a", 1)
          State.shared.update("list", function(list)
            list = list or {}
            list[1] = "x"
            return list
          end)
          seen.a, seen.list = State.get "a", State.shared:get "list"
          seen.was = State.user.delete "gone"
          seen.again, seen.default = State.user:delete "gone", State.user.get("gone", "none")
          State.session.set("s", { 1 }, { ttl = "10m" })
          return seen
        end)
        """,
        answer=keeper,
    )
    seen = {"a": 8, "list": ["x"], "was": True, "again": False, "default": "none"}
    assert outcome.value == seen
    assert keeper.commits == [
        {
            "transaction": 7,
            "value": seen,
            "writes": [
                {"scope": "session", "key": "s", "value": [1], "ttl": 600},
                {"scope": "shared", "key": "list", "value": ["x"]},
                {"scope": "spell", "key": "a", "value": 8},
                {"scope": "user", "key": "gone", "delete": True},
            ],
        }
    ]


async def test_what_was_written_is_not_changed_through_the_table_it_came_from(lua: Bench) -> None:
    keeper = Keeper({})
    await lua.value(
        """
        State.transaction(function()
          local t = { 1 }
          State.set("t", t)
          t[1] = 2
          State.get "t"[1] = 3
        end)
        """,
        answer=keeper,
    )
    assert keeper.values == {("spell", "t"): [1]}


async def test_it_runs_again_when_what_it_read_has_changed(lua: Bench) -> None:
    keeper = Keeper({("spell", "n"): 1}, conflicts=2)
    outcome = await lua.body(
        """
        local runs, numbers = 0, {}
        local n = State.transaction(function()
          runs = runs + 1
          numbers[runs] = random()
          return State.increment("n", 1)
        end)
        sleep(1)
        return { n, runs, numbers[1] ~= numbers[2] }
        """,
        answer=keeper,
    )
    assert outcome.value == [2, 3, True]
    assert outcome.keys == [":1", ":1/t1:1", ":1", ":1/t2:1", ":1", ":1/t3:1", ":1", ":2"]


async def test_it_gives_up_after_as_many_attempts_as_it_is_given(lua: Bench) -> None:
    keeper = Keeper({}, conflicts=9)
    error = await lua.error(
        "State.transaction(function() State.set('k', 1) end, { attempts = 3 })", answer=keeper
    )
    assert error["code"] == "state.conflict"
    assert error["where"] == "spells/t.lua:2"
    assert len(keeper.commits) == 3
    assert keeper.abandoned == []


async def test_a_transaction_on_record_is_not_run(lua: Bench) -> None:
    outcome = await lua.body(
        "local v = State.transaction(function() error 'ran' end)\nsleep(1)\nreturn v.n",
        answer=lambda name, _: {"recorded": True, "value": {"n": 5}} if name != "sleep" else None,
    )
    assert outcome.value == 5
    assert outcome.keys == [":1", ":2"]


FAILURES = {
    "a text": "error 'poor'",
    "a table": "error { code = 'poor', message = 'm', list = json.array {} }",
    "an error of the host": "sleep(1)",
    "what cannot be recorded": "error(print)",
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_failure_abandons_it_and_is_the_same_from_the_record(lua: Bench, what: str) -> None:
    body = f"""
    local ok, e = pcall(State.transaction, function() {FAILURES[what]} end)
    local fields = type(e) == "table" and e or {{}}
    return {{ ok, type(e), tostring(e), fields.code, fields.list }}
    """
    keeper = Keeper({})
    first = await lua.value(body, answer=keeper)
    assert first[0] is False
    ((abandoned),) = keeper.abandoned
    assert keeper.commits == []

    def recorded(operation: str, arguments: Any) -> Any:
        assert operation == "state.begin"
        return {"recorded": True, "error": abandoned["error"]}

    assert await lua.value(body, answer=recorded) == first


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("sleep(1)", "sleep"),
        ("Tool.get('t'):cast()", "cast"),
        ("Agent.get('a'):ask 'x'", "agent:ask"),
        ("parallel { print }", "parallel"),
        ("ctx:step('s', print)", "ctx:step"),
        ("ctx:ask { message = 'm' }", "ctx:ask"),
        ("ctx:emit 'x'", "ctx:emit"),
        ("ctx:progress(1)", "ctx:progress"),
        ("ctx:continue_as_new()", "ctx:continue_as_new"),
        ("template('x')", "template"),
        ("State.transaction(print)", "State.transaction"),
        ("State.watch('x')()", "State.watch"),
    ],
)
async def test_nothing_that_acts_can_be_called_inside(
    lua: Bench, statement: str, what: str
) -> None:
    keeper = Keeper({})
    error = await lua.error(f"State.transaction(function()\n {statement}\nend)", answer=keeper)
    assert error["message"] == (
        f"{what} cannot be called inside the function of State.transaction: "
        "it may run more than once; call it before or after"
    )
    assert error["where"] == "spells/t.lua:3"
    assert keeper.asked == ["state.begin", "state.abandon"]


async def test_a_log_line_may_be_written_inside(lua: Bench) -> None:
    keeper = Keeper({})
    outcome = await lua.body("State.transaction(function() print 'x' end)", answer=keeper)
    assert outcome.keys == [":1", ":1/t1:1", ":1"]
    assert keeper.asked == ["state.begin", "log", "state.commit"]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("State.transaction(5)", "State.transaction takes a function, got a number"),
        (
            "State.transaction(print, { tries = 5 })",
            "State.transaction: there is no option 'tries'; it takes attempts",
        ),
        (
            "State.transaction(print, { attempts = 0 })",
            "State.transaction: 'attempts' is a whole number from 1 to 1000",
        ),
        (
            "State.transaction(function() return print end)",
            "State.transaction: cannot pass on what its function returned: a function",
        ),
        (
            "State.transaction(function() State.set('k', print) end)",
            "State.set: cannot pass on a function",
        ),
        (
            "State.transaction(function() State.set('k', 1, { if_version = '' }) end)",
            "State.set: no if_version in a transaction; it fails as a whole when what it read has "
            "changed",
        ),
        (
            "State.transaction(function() State.set('k', 'x') State.increment 'k' end)",
            "state key 'k' holds a string, not a number",
        ),
        (
            "State.transaction(function() State.set('k', math.maxinteger) State.increment 'k' end)",
            "state key 'k' would leave the range of numbers",
        ),
        (
            "State.transaction(function() State.scan('', { limit = 1001 }) end)",
            "the limit of a scan is from 1 to 1000, not 1001",
        ),
        (
            "State.set('k', 1, { tll = 1 })",
            "State.set: there is no option 'tll'; it takes if_version, ttl",
        ),
        (
            "State.set('k', 1, { ttl = 'soon' })",
            "State.set: 'ttl' is seconds, or a text like '500ms', '2s', '2m', '1h', '3d', and more "
            "than nothing",
        ),
        ("State.watch(5)", "State.watch: the prefix must be a text, got a number"),
    ],
)
async def test_what_makes_no_sense_is_refused(lua: Bench, statement: str, message: str) -> None:
    error = await lua.error(statement, answer=Keeper({}))
    assert error["message"] == message
    assert error["where"] == "spells/t.lua:2"


async def test_a_commit_that_fails_raises_what_the_host_says(lua: Bench) -> None:
    def answer(operation: str, arguments: Any) -> Any:
        if operation == "state.begin":
            return {"transaction": 1}
        raise StateDiskFull("full") if operation == "state.commit" else StateConflict("unasked")

    error = await lua.error("State.transaction(function() State.set('k', 1) end)", answer=answer)
    assert error["code"] == "state.disk_full"


def merging(body: str) -> str:
    return f"""
    return State.transaction(function()
      for _, write in ipairs(input.writes) do
        if write[2] == json.null then State.delete(write[1]) else State.set(write[1], write[2]) end
      end
      {body}
    end)
    """


KEYS = st.text("abé", max_size=2).map(lambda text: f"p{text}") | st.just("q")


@settings(max_examples=150, deadline=None)
@given(
    stored=st.dictionaries(KEYS, st.integers(1, 9), max_size=12),
    writes=st.lists(st.tuples(KEYS, st.none() | st.integers(10, 19)).map(list), max_size=6),
    after=st.none() | KEYS,
    limit=st.integers(1, 6),
    reverse=st.booleans(),
)
async def test_a_scan_shows_what_was_written_at_its_place(
    engine: LuaEngine,
    stored: dict[str, int],
    writes: list[list[Any]],
    after: str | None,
    limit: int,
    reverse: bool,
) -> None:
    keeper = Keeper({("spell", key): value for key, value in stored.items()})
    input: Any = {"writes": writes, "after": after, "limit": limit, "reverse": reverse}
    page = await Bench(engine).value(
        merging("""
          local items, more = State.scan("p", {
            after = input.after, limit = input.limit, reverse = input.reverse,
          })
          local found = json.array {}
          for i, item in ipairs(items) do found[i] = { item.key, item.value } end
          return { found, more or json.null }
        """),
        input,
        answer=keeper,
    )
    # After the commit, the same scan outside must find the same.
    found = sorted(key for _, key in keeper.values if key.startswith("p"))
    if reverse:
        found.reverse()
    if after is not None:
        found = [key for key in found if (key < after if reverse else key > after)]
    expected = [[key, keeper.values["spell", key]] for key in found[:limit]]
    assert page == [expected, found[limit - 1] if len(found) > limit else None]


def watching(*answers: Any) -> Answer:
    waiting = list(answers)
    return lambda operation, arguments: waiting.pop(0)


async def test_a_watch_gives_changes_one_by_one_and_goes_on_behind_the_last(lua: Bench) -> None:
    def change(key: str, **fields: Any) -> Any:
        return {"key": key, "value": 1, "version": "01", "deleted": False, **fields}

    outcome = await lua.body(
        """
        local seen = {}
        for change in State.shared.watch("inbox/", { timeout = "1m", since = "00" }) do
          seen[#seen + 1] = change.resync and "resync" or change.key
        end
        return seen
        """,
        answer=watching(
            {"changes": [change("a"), change("b")], "next": "02", "resync": False},
            {"changes": [change("c")], "next": "03", "resync": True},
            {"changes": [], "next": "04", "resync": False},
        ),
    )
    assert outcome.value == ["a", "b", "resync", "c"]
    assert [arguments["since"] for _, arguments in outcome.requests] == ["00", "02", "03"]
    assert outcome.requests[0] == (
        "state.watch",
        {"scope": "shared", "prefix": "inbox/", "timeout": 60, "since": "00"},
    )


async def test_a_run_has_state_of_its_own(lua: Bench) -> None:
    outcome = await lua.body("State.run.set('k', 1)", answer=lambda operation, arguments: "01")
    assert outcome.requests == [("state.set", {"scope": "run", "key": "k", "value": 1})]


async def test_a_scan_cannot_be_asked_for_what_it_does_not_know(lua: Bench) -> None:
    error = await lua.error("State.scan('p', { limits = 5 })")
    assert error["message"] == (
        "State.scan: there is no option 'limits'; it takes after, limit, reverse"
    )
