"""One call of a model: what it asks for, what it may, its hold, its attempts, and its end."""
