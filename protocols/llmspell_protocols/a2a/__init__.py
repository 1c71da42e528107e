"""A2A 1.0 on the wire, as far as no official SDK has it: the WebSocket binding."""
