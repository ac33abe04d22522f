"""Wire formats: one module each, pure translation, no network."""
