"""Generators that read openapi.yaml, template.yaml and pyproject.toml."""
