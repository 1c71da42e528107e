"""The Lua engine: a kernel written in Lua, run by lupa in worker processes."""
