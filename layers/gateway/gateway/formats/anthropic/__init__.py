"""Anthropic's format: messages."""
