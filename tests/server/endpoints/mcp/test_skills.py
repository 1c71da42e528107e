"""The skills extension: one skill a spell, whose file is what its entry says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.catalogue import Published
from llmspell.host.skills import skills_of
from tests.support.mcp import ENVELOPE, SPELLS, open_host, pipe_to

EXTENSION = "io.modelcontextprotocol/skills"


def spell(name: str, **fields: Any) -> Published:
    return Published(name=name, **fields)


async def test_a_skill_is_listed_got_and_read_as_the_same_bytes(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint) as pipe:
            found = await pipe.request("server/discover", {"_meta": ENVELOPE})
            assert found["result"]["capabilities"]["extensions"][EXTENSION] == {}
            listed = (await pipe.request("skills/list", {"_meta": ENVELOPE}))["result"]
            assert (listed["resultType"], listed["cacheScope"]) == ("complete", "private")
            uris = [each["uri"] for each in listed["skills"]]
            assert uris == sorted(uris)
            assert len(uris) == len(SPELLS)
            for entry in listed["skills"]:
                params = {"uri": entry["uri"], "_meta": ENVELOPE}
                got = (await pipe.request("skills/get", params))["result"]
                assert got["skill"] == entry
                assert "ttlMs" in got
                read = (await pipe.request("resources/read", params))["result"]["contents"]
                assert read[0]["mimeType"] == "text/markdown"
                data = read[0]["text"].encode()
                digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
                assert entry["resources"] == [
                    {"uri": entry["uri"], "digest": digest, "size": len(data)}
                ]
                name = entry["frontmatter"]["name"]
                assert entry["uri"] == f"skill://{name}/SKILL.md"
                assert read[0]["text"].startswith(f"---\nname: {name}\ndescription: ")
        await endpoint.close()


async def test_a_uri_of_no_skill_is_a_wrong_parameter(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint) as pipe:
            for uri in ("skill://nobody/SKILL.md", "skill://echo", "spell://echo"):
                params = {"uri": uri, "_meta": ENVELOPE}
                assert (await pipe.request("skills/get", params))["error"]["code"] == -32602
            params = {"cursor": "nonsense", "_meta": ENVELOPE}
            assert (await pipe.request("skills/list", params))["error"]["code"] == -32602
        await endpoint.close()


def test_a_skill_says_what_the_spell_takes_and_gives() -> None:
    described = spell(
        "Word_count",
        title="Count",
        description='Counts "words".\nAll of them.',
        input_schema={
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "The text"},
                "most": {"type": "integer", "default": 3},
            },
            "required": ["text"],
        },
        output_schema={"type": "object", "properties": {"words": {"type": "integer"}}},
        examples=({"input": {"text": "a"}, "output": {"words": 1}},),
    )
    [skill] = skills_of([described]).values()
    assert skill.text == (
        "---\nname: word-count\n"
        'description: "Counts \\"words\\". All of them."\n---\n\n'
        '# Count\n\nCounts "words".\nAll of them.\n\n'
        "Call the tool `Word_count`.\n\n"
        "## Input\n\n"
        '- `text` (type "string", required): The text\n'
        '- `most` (type "integer", default 3, optional)\n\n'
        "## Output\n\n"
        '- `words` (type "integer", optional)\n\n'
        "## Examples\n\n"
        '```json\n{"input":{"text":"a"},"output":{"words":1}}\n```\n\n'
    )


def test_names_of_skills_have_single_hyphens_and_are_given_once() -> None:
    found = skills_of([spell("a__b_"), spell("a_b"), spell("Z"), spell("x", expose_mcp=False)])
    assert list(found) == ["skill://a-b/SKILL.md", "skill://z/SKILL.md"]
    assert found["skill://a-b/SKILL.md"].text.count("`a__b_`") == 1
    assert all(each.description for each in found.values())
