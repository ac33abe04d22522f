"""The HTTP edge: Powertools resolvers, generated schemas, problems."""
