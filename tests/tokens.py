"""Tokens of an identity provider, good and bad, signed with keys that are made here."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jwk, jws

ISSUER = "https://idp.example.com"
AUDIENCE = "model-gateway"


@cache
def signing_key(kind: str = "RSA", kid: str = "k1") -> jwk.Key:
    """A private key: RSA, P-256, P-384, P-521 or Ed25519."""
    if kind == "RSA":
        return jwk.RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})
    if kind == "Ed25519":
        return jwk.OKPKey.generate_key("Ed25519", {"kid": kid})
    return jwk.ECKey.generate_key(kind, {"kid": kid})


def jwks(*keys: jwk.Key) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims, with changes; None leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(payload: dict[str, Any] | str, key: jwk.Key | None = None, alg: str = "RS256", **header: Any) -> str:
    """A token. Text as the payload is signed as it is."""
    key = key or signing_key()
    said = {"alg": alg, "kid": key.kid, "typ": "JWT"} | header
    said = {name: value for name, value in said.items() if value is not None}
    text = payload if isinstance(payload, str) else json.dumps(payload)
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = 10**6
    return jws.serialize_compact(said, text, key, [alg], registry)


def part(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def signed_by_hand(header: Any, payload: Any, key: jwk.Key | None = None) -> str:
    """A token with RS256's signature over any two texts."""
    body = f"{part(header)}.{part(payload)}"
    private: Any = (key or signing_key()).private_key
    signature = private.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{body}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def public_pem(key: jwk.Key) -> bytes:
    public: Any = key.public_key
    found: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found
