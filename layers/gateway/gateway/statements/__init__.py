"""The month: statements, the chain that proves them, and how a month is closed."""
