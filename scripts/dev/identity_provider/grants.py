"""How a client gets a token: by code with PKCE (RFC 7636), device code (RFC 8628), credentials or refresh token."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scripts.dev.identity_provider.people import AUDIENCE, CLIENTS, PEOPLE, Client, Person
from scripts.dev.identity_provider.signing import KeyRing, encoded

CODE_SECONDS = 60
DEVICE_SECONDS = 300
POLL_SECONDS = 1
TOKEN_SECONDS = 600
_MOST = 1000  # grants of a kind that are kept
T = TypeVar("T")
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, 6.1: no vowels, nothing that looks alike


class GrantError(Exception):
    """An OAuth error code, with a sentence for people."""

    def __init__(self, code: str, sentence: str, status: int = 400):
        super().__init__(sentence)
        self.code, self.sentence, self.status = code, sentence, status


@dataclass
class Code:
    client: Client
    person: Person
    redirect_uri: str
    challenge: str
    nonce: str
    scope: str
    expires: float


@dataclass
class Device:
    client: Client
    user_code: str
    scope: str
    expires: float
    person: Person | None = None
    denied: bool = False
    polled: float = 0


@dataclass
class Refresh:
    client: Client
    person: Person
    scope: str


@dataclass
class Grants:
    """The open grants. Each code works once."""

    url: str
    keys: KeyRing
    codes: dict[str, Code] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    refreshes: dict[str, Refresh] = field(default_factory=dict)
    token_seconds: int = TOKEN_SECONDS

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------------ authorization
    def authorize(self, asked: Mapping[str, str], person: Person) -> str:
        """A code for the redirection, after the person agreed. Raises GrantError."""
        client = client_of(asked.get("client_id", ""))
        must_be_loopback(asked.get("redirect_uri", ""))
        if asked.get("response_type") != "code":
            raise GrantError("unsupported_response_type", "response_type must be code.")
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            raise GrantError("invalid_request", "code_challenge with code_challenge_method=S256 is required.")
        code = secrets.token_urlsafe(24)
        made = Code(
            client,
            person,
            asked["redirect_uri"],
            asked["code_challenge"],
            asked.get("nonce", ""),
            asked.get("scope", ""),
            time.time() + CODE_SECONDS,
        )
        self._add(self.codes, code, made)
        return code

    def start_device(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """A device code, and the code that a person types. Raises GrantError."""
        client = client_of(asked.get("client_id", ""))
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        user_code, device_code = f"{letters[:4]}-{letters[4:]}", secrets.token_urlsafe(24)
        made = Device(client, user_code, asked.get("scope", ""), time.time() + DEVICE_SECONDS)
        self._add(self.devices, device_code, made)
        return {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": f"{self.url}/device",
            "verification_uri_complete": f"{self.url}/device?user_code={user_code}",
            "expires_in": DEVICE_SECONDS,
            "interval": POLL_SECONDS,
        }

    def decide_device(self, user_code: str, person: Person | None) -> None:
        """The person agrees; None refuses. Raises GrantError."""
        typed = user_code.upper().replace(" ", "")
        for device in list(self.devices.values()):
            if device.user_code == typed and time.time() < device.expires and device.person is None:
                device.person, device.denied = person, person is None
                return
        raise GrantError("invalid_request", "No device waits for this code.")

    # ----------------------------------------------------------------------------------------------------- tokens
    def token(self, asked: Mapping[str, str], credentials: tuple[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint. `credentials`: id and secret of the client, as sent. Raises GrantError."""
        client = client_of(credentials[0] or asked.get("client_id", ""))
        if client.secret and not hmac.compare_digest(client.secret, credentials[1] or asked.get("client_secret", "")):
            raise GrantError("invalid_client", "The client's secret is wrong.", 401)
        match asked.get("grant_type"):
            case "authorization_code":
                return self._of_code(asked, client)
            case "urn:ietf:params:oauth:grant-type:device_code":
                return self._of_device(asked, client)
            case "client_credentials":
                return self._of_client(client, asked.get("scope", ""))
            case "refresh_token":
                return self._of_refresh(asked, client)
        raise GrantError("unsupported_grant_type", "This provider does not have this grant_type.")

    def _of_code(self, asked: Mapping[str, str], client: Client) -> dict[str, Any]:
        code = self._take(self.codes, asked.get("code", ""))
        if code is None or code.client != client or time.time() > code.expires:
            raise GrantError("invalid_grant", "The code is unknown, expired or used.")
        if code.redirect_uri != asked.get("redirect_uri"):
            raise GrantError("invalid_grant", "redirect_uri differs from the one of the authorization.")
        challenge = encoded(sha256(asked.get("code_verifier", "").encode()).digest())
        if not hmac.compare_digest(challenge, code.challenge):
            raise GrantError("invalid_grant", "code_verifier does not match the code_challenge.")
        return self._issue(client, code.person, code.scope, code.nonce)

    def _of_device(self, asked: Mapping[str, str], client: Client) -> dict[str, Any]:
        name, now = asked.get("device_code", ""), time.time()
        device = self.devices.get(name)
        if device is None or device.client != client:
            raise GrantError("invalid_grant", "The device code is unknown or used.")
        if device.denied or now > device.expires:
            self._take(self.devices, name)
            raise GrantError("access_denied" if device.denied else "expired_token", "The sign-in was not completed.")
        if device.person is None:
            early, device.polled = now < device.polled + POLL_SECONDS * 0.9, now
            raise GrantError("slow_down" if early else "authorization_pending", "Nobody has typed the code yet.")
        self._take(self.devices, name)
        return self._issue(client, device.person, device.scope)

    def _of_client(self, client: Client, scope: str) -> dict[str, Any]:
        if not client.secret:
            raise GrantError("unauthorized_client", "A public client has no credentials of its own.")
        person = Person(client.client_id, client.client_id, client.tenant)
        return self._answer(self._access(client, person), scope)

    def _of_refresh(self, asked: Mapping[str, str], client: Client) -> dict[str, Any]:
        refresh = self._take(self.refreshes, asked.get("refresh_token", ""))  # each works once; a new one comes along
        if refresh is None or refresh.client != client:
            raise GrantError("invalid_grant", "The refresh token is unknown or used.")
        return self._issue(client, refresh.person, refresh.scope)

    def _issue(self, client: Client, person: Person, scope: str, nonce: str = "") -> dict[str, Any]:
        said = self._answer(self._access(client, person), scope)
        if "openid" in scope.split():
            more = {"aud": client.client_id} | ({"nonce": nonce} if nonce else {})
            said["id_token"] = self.keys.current.sign(self._access(client, person) | more, "JWT")
        if "offline_access" in scope.split():
            said["refresh_token"] = secrets.token_urlsafe(32)
            self._add(self.refreshes, said["refresh_token"], Refresh(client, person, scope))
        return said

    def _answer(self, claims: Mapping[str, Any], scope: str) -> dict[str, Any]:
        token = self.keys.current.sign(claims)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds, "scope": scope}

    def _access(self, client: Client, person: Person) -> dict[str, Any]:
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + self.token_seconds, "jti": secrets.token_hex(8)}
        return {"iss": self.url, "aud": AUDIENCE, "azp": client.client_id} | times | person.claims

    # ----------------------------------------------------------------------------------------------------- storage
    def _add(self, kept: dict[str, T], name: str, value: T) -> None:
        with self._lock:
            while len(kept) >= _MOST:
                del kept[next(iter(kept))]
            kept[name] = value

    def _take(self, kept: dict[str, T], name: str) -> T | None:
        with self._lock:
            return kept.pop(name, None)


def client_of(client_id: str) -> Client:
    """Raises GrantError."""
    found = next((client for client in CLIENTS if client.client_id == client_id), None)
    if found is None:
        raise GrantError("invalid_client", "This provider does not know the client.", 401)
    return found


def person_of(sub: str) -> Person:
    """Raises GrantError."""
    found = next((person for person in PEOPLE if person.sub == sub), None)
    if found is None:
        raise GrantError("access_denied", "This provider does not know the person.")
    return found


def must_be_loopback(uri: str) -> None:
    """RFC 8252, 7.3: a native application listens on this machine, at any port. Raises GrantError."""
    parts = urlsplit(uri)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise GrantError("invalid_request", "redirect_uri must be an http address of this machine.")
