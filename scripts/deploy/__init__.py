"""What is built, and a deployment into an embedded AWS."""
