"""API Gateway's import of an OpenAPI file: the resulting REST API, and the parts that it ignores, changes or refuses.

    python -m scripts.dev.rest_api            the import of this project's openapi.yaml
    python -m scripts.dev.rest_api --rules    the rules, each with its source and its test

It needs the standard library only: the embedded AWS, which has its own environment, imports with it too.
"""
