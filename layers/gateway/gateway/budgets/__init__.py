"""What may be spent: holds before a call, bookings after it, thresholds, and what is left."""
