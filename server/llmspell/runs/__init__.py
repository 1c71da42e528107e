"""Runs: the record and event log of every cast, and the performing of its effects."""
