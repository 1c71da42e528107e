"""The MCP door: spells as tools, over a pipe and over HTTP, in both protocol eras."""
