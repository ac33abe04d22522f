"""Verifies a deployed gateway: `gateway verify-deployment`."""
