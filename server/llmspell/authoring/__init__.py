"""What authors use while they write: editor types, findings, tests of spells, a cell to try things.

Nothing here is on the way of a cast. The API itself is `runtime/lua/prelude.lua`; what an editor
and `llmspell check` know of it stands in `editor/*.lua` and in the models of `spec`.
"""
