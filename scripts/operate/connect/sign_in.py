"""OAuth at the identity provider: the device flow (RFC 8628), and the renewal of a token (RFC 6749, 6).

Messages never contain a token. The provider's own sentence is shown, cut to one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from scripts.project.command import CommandFailedError, WrongUse

SCOPE = "openid offline_access"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT = 15
_MARGIN = 60  # seconds before its end at which a token is renewed
_LONGEST = 900  # seconds to wait for the person
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Session:
    """A sign-in: where, as which client, and the tokens. Times are seconds since the epoch.

    `sent` names the token that the gateway gets: `access_token`, or `id_token` for providers with opaque access tokens.
    """

    url: str
    issuer: str
    client_id: str
    scope: str = SCOPE
    sent: str = "access_token"
    token: str = ""
    expires_at: float = 0
    refresh_token: str = ""

    def is_fresh(self, now: float) -> bool:
        return bool(self.token) and now < self.expires_at - _MARGIN


@dataclass(frozen=True)
class Prompt:
    """What a person must do to sign a device in."""

    address: str
    code: str


def signed_in(
    session: Session,
    provider: Mapping[str, Any],
    show: Callable[[Prompt], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Session:
    """Sign in by the device flow, which the provider must have. Raises CommandFailedError."""
    start = str(provider["device_authorization_endpoint"])
    asked = {"client_id": session.client_id, "scope": session.scope}
    status, said = posted(start, asked)
    if status != 200 or not {"device_code", "user_code", "verification_uri"} <= said.keys():
        raise CommandFailedError(f"The identity provider refused the sign-in: {reason(said, status)}")
    show(Prompt(str(said.get("verification_uri_complete") or said["verification_uri"]), str(said["user_code"])))
    interval = _seconds(said.get("interval"), 5)
    end = clock() + min(_seconds(said.get("expires_in"), _LONGEST), _LONGEST)
    form = {"grant_type": DEVICE, "device_code": str(said["device_code"]), "client_id": session.client_id}
    while clock() < end:
        sleep(interval)
        status, answer = posted(provider["token_endpoint"], form)
        if status == 200:
            return with_tokens(session, answer, clock())
        match answer.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                interval += 5
            case "access_denied":
                raise CommandFailedError("The sign-in was refused.")
            case "expired_token":
                break
            case _:
                raise CommandFailedError(f"The identity provider refused the sign-in: {reason(answer, status)}")
    raise CommandFailedError("Nobody typed the code in time. Run the command again.")


def renewed(session: Session, clock: Callable[[], float] = time.time) -> Session:
    """The session with a new token. Raises WrongUse where the person must sign in again."""
    if not session.refresh_token:
        raise WrongUse("The token has expired. Sign in again: gateway connect")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": session.refresh_token,
        "client_id": session.client_id,
        "scope": session.scope,
    }
    status, said = posted(discovered(session.issuer)["token_endpoint"], form)
    if status in (400, 401):
        raise WrongUse(f"The sign-in has ended ({reason(said, status)}). Sign in again: gateway connect")
    if status != 200:
        raise CommandFailedError(f"The identity provider did not renew the token: {reason(said, status)}")
    return with_tokens(session, said, clock())


def with_tokens(session: Session, said: Mapping[str, Any], now: float) -> Session:
    """The session with the tokens of an answer. Raises CommandFailedError."""
    token = said.get(session.sent)
    if not isinstance(token, str) or not token:
        raise CommandFailedError(f"The identity provider sent no {session.sent}. Check --scope.")
    if token.count(".") != 2:
        advice = "Try --id-token, or request a scope of the gateway's API."
        raise CommandFailedError(f"The {session.sent} is not a JWT, so the gateway cannot verify it. {advice}")
    refresh = said.get("refresh_token") or session.refresh_token
    expires_at = now + _seconds(said.get("expires_in"), 300)
    return replace(session, token=token, expires_at=expires_at, refresh_token=str(refresh or ""))


def discovered(issuer: str) -> dict[str, Any]:
    """The discovery document. Raises WrongUse, CommandFailedError."""
    must_be_safe(issuer)
    said = _sent("GET", issuer.rstrip("/") + "/.well-known/openid-configuration", None)[1]
    if said.get("issuer") != issuer or not isinstance(said.get("token_endpoint"), str):
        raise WrongUse(
            f"{issuer} is not an OpenID Connect issuer. Its discovery document must name exactly this issuer."
        )
    for name in ("token_endpoint", "device_authorization_endpoint"):
        if said.get(name):
            must_be_safe(str(said[name]))
    return said


def must_be_safe(url: str) -> None:
    """Tokens go only over TLS, or to this machine. Raises WrongUse."""
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    except ValueError:
        safe = False
    if not safe:
        raise WrongUse(f"{url} must begin with https://.")


def posted(url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    return _sent("POST", url, form)


def _sent(method: str, url: str, form: Mapping[str, str] | None) -> tuple[int, dict[str, Any]]:
    import requests

    answer = requests.request(
        method, url, data=form, headers={"accept": "application/json"}, timeout=_TIMEOUT, allow_redirects=False
    )
    try:
        said = answer.json()
    except ValueError:
        said = {}
    return answer.status_code, said if isinstance(said, dict) else {}


def reason(said: Mapping[str, Any], status: int) -> str:
    """The provider's own sentence."""
    text = said.get("error_description") or said.get("error") or f"status {status}"
    return " ".join(str(text).split())[:_LONGEST_TEXT]


def _seconds(said: Any, otherwise: float) -> float:
    try:
        return max(float(said), 0)
    except (TypeError, ValueError):
        return otherwise
