"""Entry points: what is built in is found as what is added would be."""

from __future__ import annotations

import pytest

from llmspell import plugins
from llmspell.errors import ConfigError


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("engines", {"lua"}),
        ("providers", {"litellm", "scripted"}),
        ("stores", {"memory", "rocksdb"}),
    ],
)
def test_what_is_built_in_is_found_by_its_group(group: plugins.Group, names: set[str]) -> None:
    found = plugins.names(group)
    assert names <= set(found)
    assert found == sorted(found)


def test_a_plugin_is_what_its_entry_point_names() -> None:
    from llmspell.state.memory import MemoryStore

    assert plugins.load("stores", "memory") is MemoryStore


def test_an_unknown_name_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no store named 'postgres'") as caught:
        plugins.load("stores", "postgres")
    assert "memory, rocksdb" in caught.value.hint
