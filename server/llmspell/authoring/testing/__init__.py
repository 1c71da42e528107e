"""Tests of spells: `describe`, `it` and `expect` in Lua, every effect answered by the test.

The code under test runs as in a cast: same workers, same limits, same host. What differs is what
the host is made of: memory for state, scripts for models, a time that only the test moves.
"""
