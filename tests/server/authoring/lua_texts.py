"""Texts that look like Lua, for property tests: some are Lua, most are nearly so."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = st.sampled_from(
    ["x", "y", "self", "Spell", "Agent", "State", "Workflow", "string", "_ENV", "_G", "nope"]
)
EXPRESSIONS = st.deferred(
    lambda: st.one_of(
        NAMES,
        st.sampled_from(
            ["1", "0x1p4", '"a"', "[[b]]", "nil", "true", "...", "'\\z q'", '"\\u{7f}"']
        ),
        st.builds("{} .. {}".format, EXPRESSIONS, EXPRESSIONS),
        st.builds("({})".format, EXPRESSIONS),
        st.builds("-{}".format, EXPRESSIONS),
        st.builds("{}.{}".format, NAMES, NAMES),
        st.builds("{}:{}{{ {} = {} }}".format, NAMES, NAMES, NAMES, EXPRESSIONS),
        st.builds(
            "{}.create {{ {} = {}, [{}] = {} }}".format, NAMES, NAMES, EXPRESSIONS, NAMES, NAMES
        ),
        st.builds("function({}) {} end".format, NAMES, STATEMENTS),
    )
)
STATEMENTS: st.SearchStrategy[str] = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.builds("local {} <const> = {}".format, NAMES, EXPRESSIONS),
            st.builds("{} = {}".format, NAMES, EXPRESSIONS),
            st.builds("{}.{}, {} = {}".format, NAMES, NAMES, NAMES, EXPRESSIONS),
            st.builds("if {} then {} else {} end".format, EXPRESSIONS, STATEMENTS, STATEMENTS),
            st.builds("for {} = 1, {} do {} end".format, NAMES, EXPRESSIONS, STATEMENTS),
            st.builds("for {}, {} in {} do {} end".format, NAMES, NAMES, EXPRESSIONS, STATEMENTS),
            st.builds("repeat {} until {}".format, STATEMENTS, EXPRESSIONS),
            st.builds("local function {}({}, ...) {} end".format, NAMES, NAMES, STATEMENTS),
            st.builds("function {}.{}:{}() {} end".format, NAMES, NAMES, NAMES, STATEMENTS),
            st.builds("goto {}; ::{}::".format, NAMES, NAMES),
            st.builds("-- {}".format, NAMES),
            st.builds("do {} end".format, STATEMENTS),
        ),
        max_size=3,
    ).map("\n".join)
)
TOKENS = st.lists(
    st.sampled_from(
        [
            *("{", "}", "(", ")", "[", "[[", "]]", "--[[", "end", "function", "if", "then"),
            *("local", "=", "return", "..", "::", "<close>", "Agent.create", "x", "1e", "é"),
            *("\0", "\\", '"', "'", "\n"),
        ]
    ),
    max_size=40,
).map(" ".join)

LUA = STATEMENTS.map(str.encode)
"""Mostly Lua."""

NEARLY = st.one_of(LUA, TOKENS.map(str.encode), st.binary(max_size=200))
"""Lua, torn Lua, and bytes."""
