"""The provider's endpoints, on the local stack's own HTTP server."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from scripts.dev.http_server import HttpServer, Request, Response
from scripts.dev.identity_provider.grants import GrantError, Grants, must_be_loopback, person_of
from scripts.dev.identity_provider.people import PEOPLE
from scripts.dev.identity_provider.signing import ALGORITHM, KeyRing, SigningKey

_LARGEST_BODY = 64 * 1024


class IdentityProvider:
    """The provider as a context manager: it listens on `url` inside the `with`.

    It keeps its signing keys in the file `keys`, so that tokens outlive a restart of the stack.
    """

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1", keys: Path | None = None):
        self._file = keys
        self._server = HttpServer(host, port, largest_body=_LARGEST_BODY)
        self.port, self.url = self._server.port, self._server.url
        self.keys = _read(keys)
        self.grants = Grants(self.url, self.keys)
        self.is_down = False
        self.asked: dict[str, int] = {}  # requests by path
        self._write()

    def __enter__(self) -> IdentityProvider:
        self._server.start(self.answer)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0)
        self._server.hang_up()

    def rotate(self, *, forget: bool = False) -> None:
        self.keys.rotate(forget=forget)
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            self._file.touch(0o600)
            self._file.write_text(json.dumps(self.keys.written))

    # --------------------------------------------------------------------------------------------------- requests
    def answer(self, request: Request) -> Response:
        path = unquote(request.path)
        if not path.startswith("/_"):
            self.asked[path] = self.asked.get(path, 0) + 1
            if self.is_down:
                return _json(503, {"error": "temporarily_unavailable"})
        asked = dict(parse_qsl(request.query, keep_blank_values=True))
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        try:
            return self._route(request, path, asked, form)
        except GrantError as error:
            return _json(error.status, {"error": error.code, "error_description": error.sentence})

    def _route(self, request: Request, path: str, asked: Mapping[str, str], form: Mapping[str, str]) -> Response:
        match request.method, path:
            case "GET", "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server":
                return _json(200, self.discovery)
            case "GET", "/jwks":
                return _json(200, self.keys.jwks)
            case "GET", "/authorize":
                return self._authorize(asked)
            case "POST", "/token":
                return _json(200, self.grants.token(form, _basic(request)))
            case "POST", "/device_authorization":
                return _json(200, self.grants.start_device(form))
            case "GET", "/device":
                return _page(
                    "Sign in a device", "/device", {"user_code": asked.get("user_code", "")}, typed="user_code"
                )
            case "POST", "/device":
                return self._device(form)
            case "GET", "/users":
                return _json(200, {"users": [person.claims for person in PEOPLE]})
            case "POST", "/_rotate":
                self.rotate(forget=form.get("forget") == "true")
                return _json(200, self.keys.jwks)
            case "POST", "/_settings":  # for tests
                self.is_down = form.get("down", str(self.is_down)).lower() == "true"
                self.grants.token_seconds = int(form.get("token_seconds", self.grants.token_seconds))
                return _json(200, {"down": self.is_down, "token_seconds": self.grants.token_seconds})
            case "GET", "/_asked":
                return _json(200, self.asked)
        return _json(404, {"error": "not_found"})

    @property
    def discovery(self) -> dict[str, Any]:
        """The document of OpenID Connect Discovery 1.0."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device_authorization",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "grant_types_supported": [
                "authorization_code",
                "client_credentials",
                "refresh_token",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "code_challenge_methods_supported": ["S256"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "scopes_supported": ["openid", "offline_access"],
        }

    def _authorize(self, asked: Mapping[str, str]) -> Response:
        """The choice of a person; with one, the redirection to the client."""
        must_be_loopback(asked.get("redirect_uri", ""))  # an error must not be sent to any other address
        if "login_hint" not in asked:
            return _page("Sign in", "/authorize", asked, method="get", chosen="login_hint")
        said = {"state": asked["state"]} if "state" in asked else {}
        try:
            said["code"] = self.grants.authorize(asked, person_of(asked["login_hint"]))
        except GrantError as error:
            if error.code == "invalid_client":
                raise
            said |= {"error": error.code, "error_description": error.sentence}
        target = asked["redirect_uri"]
        return Response(302, headers=[("Location", f"{target}{'&' if '?' in target else '?'}{urlencode(said)}")])

    def _device(self, form: Mapping[str, str]) -> Response:
        person = None if form.get("deny") == "true" else person_of(form.get("person", ""))
        self.grants.decide_device(form.get("user_code", ""), person)
        return _html("<p>Done. You can close this window.</p>")


def _read(keys: Path | None) -> KeyRing:
    try:
        return KeyRing([SigningKey.read(said) for said in json.loads(keys.read_text())] if keys else None)
    except (OSError, ValueError, KeyError):
        return KeyRing()


def _basic(request: Request) -> tuple[str, str]:
    """The client's id and secret in the header Authorization; empty without one (RFC 6749, 2.3.1)."""
    scheme, _, sent = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(sent, validate=True).decode().partition(":")
    except ValueError:
        raise GrantError("invalid_client", "The header Authorization is malformed.", 401) from None
    return unquote(name), unquote(secret)


def _json(status: int, content: Any) -> Response:
    return Response(
        status, json.dumps(content).encode(), [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    )


def _page(
    title: str,
    action: str,
    hidden: Mapping[str, str],
    *,
    method: str = "post",
    chosen: str = "person",
    typed: str = "",
) -> Response:
    """A form with a button for each person."""
    fields: Sequence[str] = [
        f'<input name="{escape(name)}" value="{escape(value)}" type="{"text" if name == typed else "hidden"}">'
        for name, value in hidden.items()
    ]
    buttons = [f'<p><button name="{chosen}" value="{quote(one.sub)}">{escape(one.name)}</button>' for one in PEOPLE]
    form = f'<form method="{method}" action="{action}">{"".join([*fields, *buttons])}</form>'
    return _html(f"<h1>{escape(title)}</h1><p>The identity provider of the local stack.</p>{form}")


def _html(content: str) -> Response:
    page = f"<!doctype html><meta charset=utf-8><title>Local identity provider</title>{content}"
    return Response(200, page.encode(), [("Content-Type", "text/html; charset=utf-8")])
