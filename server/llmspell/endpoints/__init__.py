"""The doors: each maps one wire onto the host and back, and decides nothing itself."""
