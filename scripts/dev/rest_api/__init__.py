"""API Gateway's import of an OpenAPI file: which REST API it makes of one, and what it ignores, changes or refuses.

    python -m scripts.dev.rest_api            what becomes of this project's openapi.yaml
    python -m scripts.dev.rest_api --rules    the rules, each with its source and its test

It needs the standard library only: the embedded AWS, which has an environment of its own, imports by it as well.
"""
