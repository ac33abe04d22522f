"""`gateway`: the operators' command line."""
