"""The files of MCP clients, which `install` and `uninstall` edit."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class ClientFileError(LlmspellError):
    """A file of an MCP client cannot be read, or not be changed without harm to what it holds."""

    code = "client.file"
    hint_text = "'llmspell install CLIENT --print' shows what to put into it by hand"
