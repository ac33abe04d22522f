"""Requests of each format, answered or streamed: what lies between HTTP and a call of a model."""
