"""Made from openapi.yaml by `make generate`; not to be edited."""
