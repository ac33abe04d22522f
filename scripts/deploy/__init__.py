"""Build results, and a deployment into an embedded AWS."""
