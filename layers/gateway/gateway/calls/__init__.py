"""One call of a model: its request, permissions, hold, attempts, and settlement."""
