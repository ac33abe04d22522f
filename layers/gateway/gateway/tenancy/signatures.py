"""Signatures of tokens, by joserfc and cryptography. Importing them takes longer than all else that a token needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache

from joserfc import jwk, jws
from joserfc.errors import JoseError


def is_signed(text: str, algorithm: str, key: Mapping[str, str], largest_header: int) -> bool:
    """Did the owner of this public key, a JWK, sign the token with this algorithm?"""
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = largest_header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that RFC 9864 has another name for EdDSA
        try:
            jws.deserialize_compact(text, _imported(tuple(sorted(key.items()))), [algorithm], registry)
        except (JoseError, ValueError, TypeError):
            return False
    return True


@lru_cache(256)
def _imported(members: tuple[tuple[str, str], ...]) -> jwk.Key:
    """A key without `alg`: it was compared already, and joserfc knows only one of EdDSA's names."""
    return jwk.import_key({name: value for name, value in members if name != "alg"})
