"""What usage costs: prices with their dates, and the most that a call can cost."""
