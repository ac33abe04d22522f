"""The provider's signing keys, with cryptography alone: ES256, which makes a key at once and signs quickly."""

from __future__ import annotations

import json
import secrets
import threading
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

ALGORITHM = "ES256"
_SIZE = 32


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


class SigningKey:
    """One key pair with its id."""

    def __init__(self, key: EllipticCurvePrivateKey | None = None, kid: str = ""):
        self._key = key or generate_private_key(SECP256R1())
        self.kid = kid or secrets.token_hex(8)

    @classmethod
    def read(cls, said: Mapping[str, str]) -> SigningKey:
        key = load_pem_private_key(said["pem"].encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return cls(key, said["kid"])

    @property
    def written(self) -> dict[str, str]:
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {"kid": self.kid, "pem": pem.decode()}

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        point = {name: encoded(getattr(numbers, name).to_bytes(_SIZE, "big")) for name in ("x", "y")}
        return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": ALGORITHM, "kid": self.kid} | point

    def sign(self, claims: Mapping[str, Any], kind: str = "at+jwt") -> str:
        header = {"alg": ALGORITHM, "kid": self.kid, "typ": kind}
        body = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        numbers = decode_dss_signature(self._key.sign(body.encode(), ECDSA(SHA256())))
        return f"{body}.{encoded(b''.join(number.to_bytes(_SIZE, 'big') for number in numbers))}"


class KeyRing:
    """The key that signs, and the one before it, which verifies what it signed until the next rotation."""

    def __init__(self, keys: list[SigningKey] | None = None) -> None:
        self._keys = keys or [SigningKey()]
        self._lock = threading.Lock()

    @property
    def current(self) -> SigningKey:
        return self._keys[0]

    @property
    def written(self) -> list[dict[str, str]]:
        return [key.written for key in self._keys]

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.jwk for key in self._keys]}

    def rotate(self, *, forget: bool = False) -> None:
        """Sign with a new key. `forget` withdraws the former ones at once, as after a theft."""
        with self._lock:
            self._keys = [SigningKey(), *([] if forget else self._keys[:1])]
