"""Wire formats, a package or module each: pure translation, no network."""
