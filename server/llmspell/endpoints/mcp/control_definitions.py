"""What clients are told of the tools beside the spells; `control_tools` performs them."""

from __future__ import annotations

from llmspell.values import Object

MOST_FOUND = 20
"""Most spells of one answer of `spell_search`."""

USUALLY_FOUND = 5
"""How many it gives when it is not told."""

DEFINITIONS: tuple[Object, ...] = (
    {
        "name": "cast",
        "title": "Cast a spell",
        "description": "Run any spell of this server by its name, also one that is not in the "
        "list of tools. Same result as the tool of that name.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Name of the spell."},
                "input": {
                    "type": "object",
                    "description": "Its arguments, as its input schema says.",
                },
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": False,
            "openWorldHint": True,
        },
    },
    {
        "name": "run_cancel",
        "title": "Stop a run",
        "description": "Stop a run that is under way, and everything it began. For good: what it "
        "has done so far stays done.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "run_id": {"type": "string", "description": "The run_id that a call gave."}
            },
            "required": ["run_id"],
            "additionalProperties": False,
        },
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    },
    {
        "name": "run_result",
        "title": "Get a run's result",
        "description": "Get the result of a run when a call gave a run_id instead of a result, or "
        "the next part of a result that was cut. Waits for the run; if it has not ended then, "
        "says how far it is: call this again.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "run_id": {"type": "string", "description": "The run_id that a call gave."},
                "wait": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Most seconds to wait; 0 = answer at once.",
                },
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Where the next part of a long result begins.",
                },
            },
            "required": ["run_id"],
            "additionalProperties": False,
        },
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    },
    {
        "name": "spell_search",
        "title": "Find a spell",
        "description": "Find spells of this server by what they do. Gives their names, "
        "descriptions and input schemas; run one with the tool cast.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "A few words; none lists all."},
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_FOUND,
                    "description": f"Most spells to give, {USUALLY_FOUND} if not said.",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    },
)
"""As `tools/list` has them, sorted by name."""
