"""A certificate of this machine's own making, so that clients that want TLS can call the local stack.

The authority signs one server and is then forgotten: its key is never written down.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=90)
_MARGIN = dt.timedelta(days=7)  # renewed this long before it expires
_HOST, _ADDRESSES = "localhost", ("127.0.0.1", "::1")


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
    """The certificate kept in a folder; a new one where there is none, or it is about to expire."""
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
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Model gateway, this machine only")
    began = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    names: list[x509.GeneralName] = [x509.DNSName(_HOST)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    networks = [x509.IPAddress(ipaddress.ip_network(address)) for address in _ADDRESSES]

    def certify(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca = certify(
        issuer,
        authority,
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(signs=True), True),
        # Even with its key, it could vouch for nobody but this machine.
        (x509.NameConstraints([x509.DNSName(_HOST), *networks], None), True),
    )
    own = certify(
        _name(_HOST),
        server,
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
    )
    secret = server.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content, mode in ((kept.key, secret, 0o600), (kept.server, own, 0o644), (kept.ca, ca, 0o644)):
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        unfinished.replace(path)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
