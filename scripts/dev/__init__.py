"""The local stack: stand-ins for what only AWS has."""
