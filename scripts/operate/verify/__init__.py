"""Asks a deployed gateway whether it answers as it must: `gateway verify-deployment`."""
