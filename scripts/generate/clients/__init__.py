"""Clients generated from openapi.yaml, in Python and in TypeScript: built, and run against the local stack."""
