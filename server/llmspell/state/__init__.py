"""The state layer: an ordered, versioned key-value store, and the scopes spells see of it."""
