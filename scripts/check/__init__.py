"""What CI checks."""
