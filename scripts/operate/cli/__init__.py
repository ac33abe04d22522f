"""`gateway`: the one command that an operator types."""
