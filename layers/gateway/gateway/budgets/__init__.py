"""Budgets: holds before a call, bookings after it, thresholds, and the current state."""
