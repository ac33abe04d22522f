"""Clients generated from openapi.yaml, in Python and in TypeScript: made, built, and walked through the local stack."""
