"""What is made from openapi.yaml, template.yaml and pyproject.toml."""
