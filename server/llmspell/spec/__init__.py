"""What a spell file declares: the models of it, and the reading of it from a script's data."""
