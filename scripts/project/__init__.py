"""This checkout: its template, its environments, the pinned SAM CLI."""
