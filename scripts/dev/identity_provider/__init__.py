"""A small identity provider for the local stack: OpenID Connect, real enough for the usual clients.

    python -m scripts.dev.identity_provider --port 9200

It signs in whoever it is told to, without a password, so it must never be reached from another machine.
"""

from scripts.dev.identity_provider.server import IdentityProvider

__all__ = ["IdentityProvider"]
