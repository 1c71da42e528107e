"""A cell: chunks of Lua evaluated one after the other, as `llmspell repl` does."""
