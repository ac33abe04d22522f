"""The sign-in by a redirection to this machine: authorization code with PKCE (RFC 7636, RFC 8252).

For providers without the device flow, such as Amazon Cognito.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from scripts.operate.connect.sign_in import Session, must_be_safe, posted, reason, with_tokens
from scripts.project.command import CommandFailedError, WrongUse

_LONGEST = 300  # seconds to wait for the person
_PAGE = b"<!doctype html><meta charset=utf-8><title>Signed in</title><p>You can close this window."


def signed_in_by_browser(
    session: Session, provider: Mapping[str, Any], show: Callable[[str], None], port: int = 0
) -> Session:
    """Sign in with a browser on this machine. Raises WrongUse, CommandFailedError."""
    endpoint = str(provider.get("authorization_endpoint") or "")
    must_be_safe(endpoint)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    with Listener(port) as listener:
        asked = {
            "response_type": "code",
            "client_id": session.client_id,
            "redirect_uri": listener.address,
            "scope": session.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        show(f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}")
        said = listener.answer(state, time.monotonic() + _LONGEST)
    if "code" not in said:
        raise CommandFailedError(f"The identity provider refused the sign-in: {reason(said, 400)}")
    form = {
        "grant_type": "authorization_code",
        "code": said["code"],
        "redirect_uri": asked["redirect_uri"],
        "client_id": session.client_id,
        "code_verifier": verifier,
    }
    status, tokens = posted(str(provider["token_endpoint"]), form)
    if status != 200:
        raise CommandFailedError(f"The identity provider refused the sign-in: {reason(tokens, status)}")
    return with_tokens(session, tokens, time.time())


class Listener:
    """Waits at this machine's own address for the browser."""

    def __init__(self, port: int):
        self._said: list[dict[str, str]] = []
        said = self._said

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/callback":
                    said.append(dict(parse_qsl(parts.query)))
                self.send_response(200 if parts.path == "/callback" else 404)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(_PAGE)

            def log_message(self, *_: Any) -> None:
                """The code is in the path, so nothing is logged."""

        try:
            self._server = HTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise WrongUse(f"Port {port} cannot be used: {error.strerror}. Name another with --port.") from None
        self.address = f"http://localhost:{self._server.server_address[1]}/callback"

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def answer(self, state: str, end: float) -> dict[str, str]:
        """The parameters of the redirection with this state; others are not for us. Raises CommandFailedError."""
        while (left := end - time.monotonic()) > 0:
            self._server.timeout = left
            self._server.handle_request()
            while self._said:
                said = self._said.pop()
                if secrets.compare_digest(said.get("state", "").encode(), state.encode()):
                    return said
        raise CommandFailedError("Nobody signed in in time. Run the command again.")
