"""Who calls, what they may do, and what is never shown."""
