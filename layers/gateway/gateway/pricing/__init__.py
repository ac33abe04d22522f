"""Prices with their dates, the cost of usage, and the maximum cost of a call."""
