"""Script engines: they turn a file into a declaration, and a running script into effects."""
