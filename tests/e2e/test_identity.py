"""People and applications sign in at the local stack's identity provider, and call models with its tokens."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import AdminApi
from scripts.operate.tenants import local_api

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
HERE = "http://127.0.0.1:1/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("identity"), environment={"GATEWAY_PARAM_KeyCacheSeconds": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def admin(stack: LocalStack) -> AdminApi:
    return local_api(stack.data)


@pytest.fixture(autouse=True)
def _provider_is_up(stack: LocalStack) -> Iterator[None]:
    yield
    post(stack, "/_settings", down="false", token_seconds="600")


def post(stack: LocalStack, path: str, **form: str) -> Any:
    answer = requests.post(stack.identity_url + path, data=form, timeout=10)
    return answer.json() if "json" in answer.headers["content-type"] else answer.text


def by_code(stack: LocalStack, person: str = "ann", **changed: str) -> dict[str, Any]:
    """Authorization code with PKCE, as a native application does it (RFC 7636, RFC 8252)."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code", "client_id": "gateway-web", "redirect_uri": HERE, "state": "s1",
        "scope": "openid offline_access", "code_challenge": challenge, "code_challenge_method": "S256",
        "login_hint": person, "nonce": "n1",
    }  # fmt: skip
    found = requests.get(f"{stack.identity_url}/authorize", params=asked, allow_redirects=False, timeout=10)
    assert found.status_code == 302
    said = parse_qs(urlsplit(found.headers["location"]).query)
    assert said["state"] == ["s1"]
    form = {
        "grant_type": "authorization_code", "code": said["code"][0], "redirect_uri": HERE, "client_id": "gateway-web",
        "code_verifier": verifier,
    } | changed  # fmt: skip
    answer: dict[str, Any] = post(stack, "/token", **form)
    if not changed:  # a code works once
        assert post(stack, "/token", **form)["error"] == "invalid_grant"
    return answer


def chat(stack: LocalStack, token: str, **headers: str) -> requests.Response:
    return requests.post(
        f"{stack.url}/v1/chat/completions",
        json={"model": HAIKU, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20},
        headers=headers or {"authorization": f"Bearer {token}"},
        timeout=30,
    )


def test_a_person_signs_in_by_code_and_calls_models_in_every_dialect(stack: LocalStack) -> None:
    token = by_code(stack)["access_token"]
    assert chat(stack, token).status_code == 200
    assert chat(stack, token, **{"x-api-key": token}).status_code == 200
    body = {"model": HAIKU, "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    anthropic = requests.post(f"{stack.url}/v1/messages", json=body, headers={"x-api-key": token}, timeout=30)
    assert anthropic.status_code == 200
    converse = requests.post(
        f"{stack.url}/model/{HAIKU}/converse",
        json={"messages": [{"role": "user", "content": [{"text": "hello"}]}]},
        headers={"authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert converse.status_code == 200
    assert requests.get(f"{stack.url}/v1/models", headers={"authorization": f"Bearer {token}"}, timeout=30).ok


def test_an_id_token_is_for_its_client_and_not_for_the_gateway(stack: LocalStack) -> None:
    assert chat(stack, by_code(stack)["id_token"]).status_code == 401


def test_a_wrong_verifier_gets_no_token(stack: LocalStack) -> None:
    assert by_code(stack, code_verifier="wrong")["error"] == "invalid_grant"


def test_a_code_goes_to_no_other_machine(stack: LocalStack) -> None:
    asked = {"client_id": "gateway-web", "redirect_uri": "https://evil.example.com", "login_hint": "ann"}
    found = requests.get(f"{stack.identity_url}/authorize", params=asked, allow_redirects=False, timeout=10)
    assert (found.status_code, found.json()["error"]) == (400, "invalid_request")


def test_a_device_is_signed_in_on_another_screen(stack: LocalStack) -> None:
    said = post(stack, "/device_authorization", client_id="gateway-cli", scope="offline_access")
    ask = {"grant_type": DEVICE, "device_code": said["device_code"], "client_id": "gateway-cli"}
    assert post(stack, "/token", **ask)["error"] == "authorization_pending"
    assert post(stack, "/token", **ask)["error"] == "slow_down"
    assert said["user_code"] in requests.get(said["verification_uri_complete"], timeout=10).text
    post(stack, "/device", user_code=said["user_code"].lower(), person="cat")
    answer = post(stack, "/token", **ask)
    assert chat(stack, answer["access_token"]).status_code == 200
    assert post(stack, "/token", **ask)["error"] == "invalid_grant"
    renewed = post(
        stack, "/token", grant_type="refresh_token", refresh_token=answer["refresh_token"], client_id="gateway-cli"
    )
    assert chat(stack, renewed["access_token"]).status_code == 200
    again = post(
        stack, "/token", grant_type="refresh_token", refresh_token=answer["refresh_token"], client_id="gateway-cli"
    )
    assert again["error"] == "invalid_grant"


def test_a_device_that_is_refused_gets_no_token(stack: LocalStack) -> None:
    said = post(stack, "/device_authorization", client_id="gateway-cli")
    post(stack, "/device", user_code=said["user_code"], deny="true")
    ask = {"grant_type": DEVICE, "device_code": said["device_code"], "client_id": "gateway-cli"}
    assert post(stack, "/token", **ask)["error"] == "access_denied"


def test_an_application_signs_in_with_its_own_credentials(stack: LocalStack) -> None:
    token = f"{stack.identity_url}/token"
    form = {"grant_type": "client_credentials"}
    answer = requests.post(token, data=form, auth=("nightly-job", "local-secret"), timeout=10).json()
    assert chat(stack, answer["access_token"]).status_code == 200
    wrong = requests.post(token, data=form, auth=("nightly-job", "guess"), timeout=10)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    public = requests.post(token, data=form | {"client_id": "gateway-cli"}, timeout=10)
    assert public.json()["error"] == "unauthorized_client"


def redirected(address: str) -> str:
    """Where the provider sends the browser of a person who signs in as Ann."""
    return requests.get(f"{address}&login_hint=ann", allow_redirects=False, timeout=10).headers["location"]


def test_authlib_signs_in_people_and_applications(stack: LocalStack) -> None:
    from authlib.integrations.requests_client import OAuth2Session

    known = requests.get(f"{stack.identity_url}/.well-known/openid-configuration", timeout=10).json()
    client = OAuth2Session("nightly-job", "local-secret")
    token = client.fetch_token(known["token_endpoint"], grant_type="client_credentials")
    assert chat(stack, token["access_token"]).status_code == 200
    person = OAuth2Session(
        "gateway-web", scope="openid offline_access", redirect_uri=HERE, code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )  # fmt: skip
    verifier = secrets.token_urlsafe(48)
    address, _ = person.create_authorization_url(known["authorization_endpoint"], code_verifier=verifier)
    token = person.fetch_token(
        known["token_endpoint"], authorization_response=redirected(address), code_verifier=verifier
    )
    assert chat(stack, token["access_token"]).status_code == 200
    renewed = person.refresh_token(known["token_endpoint"], refresh_token=token["refresh_token"])
    assert chat(stack, renewed["access_token"]).status_code == 200


def test_oauthlib_signs_in_people_and_applications(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the provider of this machine has no TLS
    endpoint = f"{stack.identity_url}/token"
    client = OAuth2Session(client=BackendApplicationClient("nightly-job"))
    token = client.fetch_token(endpoint, client_id="nightly-job", client_secret="local-secret")
    assert chat(stack, token["access_token"]).status_code == 200
    person = OAuth2Session("gateway-web", scope=["openid", "offline_access"], redirect_uri=HERE, pkce="S256")
    address, _ = person.authorization_url(f"{stack.identity_url}/authorize")
    token = person.fetch_token(endpoint, authorization_response=redirected(address), include_client_id=True)
    assert chat(stack, token["access_token"]).status_code == 200


def test_a_token_belongs_to_its_tenant_and_to_its_user(stack: LocalStack) -> None:
    token = by_code(stack, "cat")["access_token"]
    said = requests.get(f"{stack.url}/usage", headers={"authorization": f"Bearer {token}"}, timeout=30)
    assert said.status_code == 200
    assert "demo-research" not in said.text


def test_a_submitted_call_of_a_token_runs(stack: LocalStack) -> None:
    token = by_code(stack)["access_token"]
    headers = {"authorization": f"Bearer {token}", "streaming": "true"}
    sent = requests.post(
        f"{stack.url}/invoke_model", params={"model_id": HAIKU}, json={"inputs": "hello"}, headers=headers, timeout=30
    )
    polled = {"requestId": sent.json()[0]["request_id"]}
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answer = requests.post(f"{stack.url}/invoke_model", params=polled, json={}, headers=headers, timeout=30).json()
        if "generated_text" in answer[0]:
            return
        time.sleep(0.2)
    pytest.fail(f"the call did not end: {answer}")


def test_a_changed_token_and_an_expired_one_are_refused_like_a_bad_key(stack: LocalStack) -> None:
    token = by_code(stack)["access_token"]
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"tenant": "demo-marketing"}).encode()).decode().rstrip("=")
    bad_key = chat(stack, "mgw_guess")
    post(stack, "/_settings", token_seconds="-120")
    expired = by_code(stack)["access_token"]
    for bad in (
        f"{header}.{forged}.{signature}",
        f"{header}.{payload}.",
        expired,
        "eyJ.eyJ.x",
        "eyJ" + "x" * 7000 + "..",
    ):
        refused = chat(stack, bad)
        assert refused.status_code == bad_key.status_code == 401
        assert refused.json()["code"] == bad_key.json()["code"] == "unauthorized"
        assert "Traceback" not in refused.text
    log = (stack.data / "logs/AuthorizeTenantFunction.log").read_text()
    assert "token_refused" in log
    assert not any(piece in log for piece in (payload, signature, forged))


def test_an_issuer_speaks_only_for_its_tenants(stack: LocalStack, admin: AdminApi) -> None:
    known = admin.call("GET", "/admin/issuers/local")
    assert known["tenants"] == ["demo-research", "demo-marketing"]
    settings = {name: value for name, value in known.items() if name not in ("issuer_id", "version")}
    token = by_code(stack, "cat")["access_token"]
    admin.call("PUT", "/admin/issuers/local", settings | {"tenants": ["demo-research"]})
    time.sleep(1.1)
    assert chat(stack, token).status_code == 401
    admin.call("PUT", "/admin/issuers/local", settings)
    time.sleep(1.1)
    assert chat(stack, token).status_code == 200


def test_a_stream_goes_on_after_its_token_stopped_working(stack: LocalStack, admin: AdminApi) -> None:
    """As after the token's end: a request is authorized once, when it begins."""
    known = admin.call("GET", "/admin/issuers/local")
    settings = {name: value for name, value in known.items() if name not in ("issuer_id", "version")}
    token = by_code(stack, "cat")["access_token"]
    asked = {
        "model": HAIKU,
        "stream": True,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "[[chunks=12]] [[tokens_out=12]] [[chunk_delay=0.4]]"}],
    }
    headers = {"authorization": f"Bearer {token}"}
    with requests.post(
        f"{stack.url}/v1/chat/completions", json=asked, headers=headers, stream=True, timeout=30
    ) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        admin.call("PUT", "/admin/issuers/local", settings | {"tenants": ["demo-research"]})
        time.sleep(1.1)
        assert chat(stack, token).status_code == 401
        began = time.monotonic()
        assert [line for line in lines if line][-1] == b"data: [DONE]"
        assert time.monotonic() - began > 1  # it was under way
    admin.call("PUT", "/admin/issuers/local", settings)
    time.sleep(1.1)


def test_the_provider_may_be_down_and_a_flood_does_not_reach_it(stack: LocalStack) -> None:
    token = by_code(stack)["access_token"]
    assert chat(stack, token).status_code == 200
    asked = requests.get(f"{stack.identity_url}/_asked", timeout=10).json().get("/jwks", 0)
    post(stack, "/_settings", down="true")
    assert chat(stack, token).status_code == 200
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": "unknown"}).encode()).decode().rstrip("=")
    for _ in range(30):
        assert chat(stack, f"{header}.{token.split('.')[1]}.{token.split('.')[2]}").status_code == 401
    assert requests.get(f"{stack.identity_url}/_asked", timeout=10).json().get("/jwks", 0) <= asked + 1


def test_a_rotated_key_serves_and_a_withdrawn_one_does_not(stack: LocalStack, admin: AdminApi) -> None:
    old = by_code(stack)["access_token"]
    post(stack, "/_rotate")
    new = by_code(stack)["access_token"]
    # A change of the record makes the gateway fetch at once; otherwise this would wait for the interval.
    known = admin.call("GET", "/admin/issuers/local")
    settings = {name: value for name, value in known.items() if name not in ("issuer_id", "version")}
    admin.call("PUT", "/admin/issuers/local", settings | {"audiences": ["model-gateway", f"now-{time.time()}"]})
    time.sleep(1.1)
    assert chat(stack, new).status_code == 200
    assert chat(stack, old).status_code == 200  # the former key verifies until the next rotation
    post(stack, "/_rotate", forget="true")
    admin.call("PUT", "/admin/issuers/local", settings)
    time.sleep(1.1)
    assert [chat(stack, token).status_code for token in (old, new)] == [401, 401]


@pytest.mark.parametrize("tool", ["claude-code", "codex", "openai", "boto3"])
def test_a_developer_connects_a_tool_and_the_helper_renews_the_token(
    stack: LocalStack, tool: str, tmp_path: Path
) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "AWS_CONFIG_FILE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "scripts.operate.cli"]
    post(stack, "/_settings", token_seconds="62")  # two seconds until it is renewed
    with subprocess.Popen(
        [*command, "connect", tool, "--local", str(stack.data)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        prompt = running.stderr.readline()
        assert prompt.startswith(f"Open {stack.identity_url}/device?user_code=")
        post(stack, "/device", user_code=prompt.split()[-1], person="ann")
        out, err = running.communicate(timeout=30)
    assert (running.returncode, "Traceback" in err) == (0, False)

    def helper() -> str:
        done = subprocess.run(
            [*command, "token"], env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    first = helper()
    assert chat(stack, first).status_code == 200
    time.sleep(2.1)
    second = helper()
    assert second != first
    assert chat(stack, second).status_code == 200
    kept = tmp_path / "config/model-gateway/default.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != kept]
    assert not any(first in text or second in text for text in (out, err, *(path.read_text() for path in written)))
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"expires_at": 0, "refresh_token": "used"}))
    done = subprocess.run([*command, "token"], env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, "Sign in again" in done.stderr) == (2, "", True)


def test_a_developer_signs_in_with_a_browser_of_the_same_machine(stack: LocalStack, tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.operate.cli", "connect", "openai", "--browser", "--local", str(stack.data)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        address = running.stderr.readline().split()[-1]
        callback = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        assert requests.get(callback, params={"code": "stolen", "state": "guessed"}, timeout=10).ok
        assert requests.get(f"{address}&login_hint=ann", timeout=10).ok
        _, err = running.communicate(timeout=30)
    assert (running.returncode, "Traceback" in err) == (0, False)
    kept = json.loads((tmp_path / "config/model-gateway/default.json").read_text())
    assert chat(stack, kept["token"]).status_code == 200


def test_a_restart_keeps_the_keys_and_the_address(stack: LocalStack) -> None:
    token, url = by_code(stack)["access_token"], stack.identity_url
    stack.restart()
    assert stack.identity_url == url
    assert chat(stack, token).status_code == 200
