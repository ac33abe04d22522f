"""Monthly statements, the hash chain that proves them, and the closing of a month."""
