"""The formats of the 2024 sample."""
