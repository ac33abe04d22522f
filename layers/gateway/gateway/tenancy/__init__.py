"""Tenants, their API keys, and the changes that operators make to both."""
