"""Signatures of tokens, by joserfc and cryptography. Importing them takes longer than all else that a token needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache, lru_cache

from joserfc import jwk, jws
from joserfc.errors import JoseError, SecurityWarning

# RFC 9864 has another name for EdDSA; providers use both.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


def is_signed(text: str, algorithm: str, key: Mapping[str, str], largest_header: int) -> bool:
    """Did the owner of this public key, a JWK, sign the token with this algorithm?"""
    registry = _registry(algorithm, largest_header)
    try:
        jws.deserialize_compact(text, _imported(tuple(key.items())), registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
    return True


@cache
def _registry(algorithm: str, largest_header: int) -> jws.JWSRegistry:
    """Lets one algorithm pass, and headers that the standard does not name."""
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = largest_header
    return registry


@lru_cache(256)
def _imported(members: tuple[tuple[str, str], ...]) -> jwk.Key:
    """A key without `alg`: it was compared already, and joserfc knows only one of EdDSA's names."""
    return jwk.import_key({name: value for name, value in members if name != "alg"})
