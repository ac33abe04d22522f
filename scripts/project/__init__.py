"""What this checkout is: its template, its environments, the pinned SAM CLI."""
