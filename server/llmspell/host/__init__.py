"""The host: the one door through which anything is cast."""
