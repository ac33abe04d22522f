"""A client of a gateway's admin API, with requests signed by Signature Version 4."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

# These are idempotent, so they can be retried.
_RETRIED = Retry(
    total=4, backoff_factor=0.2, status_forcelist=(429, 502, 503), allowed_methods=("GET", "PUT", "DELETE")
)


class Refused(Exception):
    """The gateway answered with a problem."""

    def __init__(self, status: int, problem: Mapping[str, Any]):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('message')}")
        self.status, self.code = status, problem.get("code")


@dataclass
class AdminApi:
    """`/admin/*` of the gateway at `url`. Safe for use by several threads."""

    url: str
    region: str
    credentials: Credentials

    def __post_init__(self) -> None:
        self._own = threading.local()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        content = None if body is None else json.dumps(body)
        sent = headers | ({"content-type": "application/json"} if content else {})
        request = AWSRequest(method, self.url.rstrip("/") + path, data=content, headers=sent)
        SigV4Auth(self.credentials, "execute-api", self.region).add_auth(request)
        prepared = request.prepare()
        return self._session().request(
            method, prepared.url, data=content, headers=dict(prepared.headers.items()), timeout=60
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The response's JSON; None if it is empty. Raises Refused."""
        return self.must(self.send(method, path, body))

    @staticmethod
    def must(answer: requests.Response) -> Any:
        """The JSON of a successful response. Raises Refused for a problem."""
        if not answer.ok:
            try:
                problem = answer.json()
            except ValueError:
                problem = {"message": "the response is not from a gateway"}
            raise Refused(answer.status_code, problem)
        return answer.json() if answer.content else None

    def tenants(self) -> Iterator[dict[str, Any]]:
        return self._all("/admin/tenants", "tenants", {})

    def keys(self, tenant_id: str) -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = self.call("GET", f"{of(tenant_id)}/keys")["keys"]
        return keys

    def change_budget(self, tenant_id: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """Lend to a budget (`loans`) or begin it anew (`resets`); the tenant's new record. Raises Refused."""
        tenant: dict[str, Any] = self.call("POST", f"{of(tenant_id)}/budgets/{action}", body)
        return tenant

    def users(self, tenant_id: str) -> Iterator[dict[str, Any]]:
        return self._all(f"{of(tenant_id)}/users", "users", {})

    def issuers(self) -> Iterator[dict[str, Any]]:
        return self._all("/admin/issuers", "issuers", {})

    def audit(self, tenant_id: str | None = None) -> Iterator[dict[str, Any]]:
        return self._all("/admin/audit", "records", {"tenant_id": tenant_id} if tenant_id else {})

    def _all(self, path: str, name: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        query = {"limit": "100"} | query
        while True:
            page = self.call("GET", f"{path}?{urlencode(query, quote_via=quote)}")
            yield from page[name]
            if "next" not in page:
                return
            query["next"] = page["next"]

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            session = requests.Session()
            session.trust_env = False
            session.mount("https://", HTTPAdapter(max_retries=_RETRIED))
            session.mount("http://", HTTPAdapter(max_retries=_RETRIED))
            self._own.session = session
        found: requests.Session = self._own.session
        return found


def of(tenant_id: str) -> str:
    return f"/admin/tenants/{quote(tenant_id, safe='')}"


def of_user(tenant_id: str, user_id: str) -> str:
    return f"{of(tenant_id)}/users/{quote(user_id, safe='')}"


def of_issuer(issuer_id: str) -> str:
    return f"/admin/issuers/{quote(issuer_id, safe='')}"
