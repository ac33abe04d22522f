"""Creates a certificate on this machine for clients that call the local stack over TLS.

The authority signs one server certificate and is then discarded: its key is never stored.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

_VALID = dt.timedelta(days=90)
_MARGIN = dt.timedelta(days=7)  # renewed this long before expiry
_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificate:
    """Files: the authority to trust, and the server's certificate with its key."""

    ca: Path
    server: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server, self.key)
        return context


def certificate(folder: Path) -> Certificate:
    """The certificate stored in a folder; a new one if none exists or it is about to expire."""
    kept = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if not _is_good(kept):
        folder.mkdir(parents=True, exist_ok=True)
        _make(kept)
    return kept


def _is_good(kept: Certificate) -> bool:
    try:
        server, ca = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (kept.server, kept.ca))
        server.verify_directly_issued_by(ca)
        kept.context()
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return server.not_valid_after_utc - _MARGIN > dt.datetime.now(dt.UTC)


def _make(kept: Certificate) -> None:
    import trustme  # a slow import, and most starts already have a certificate

    now = dt.datetime.now(dt.UTC)
    authority = trustme.CA(organization_name="Model gateway", organization_unit_name="this machine only")
    # A slightly slow clock trusts it too.
    own = authority.issue_cert(
        *_NAMES, common_name=_NAMES[0], not_before=now - dt.timedelta(hours=1), not_after=now + _VALID
    )
    _write(kept.key, own.private_key_pem.bytes(), 0o600)
    _write(kept.server, own.cert_chain_pems[0].bytes(), 0o644)
    _write(kept.ca, authority.cert_pem.bytes(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    unfinished.replace(path)
