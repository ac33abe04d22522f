"""events/: real events of every function, by the folder of its code, and the data that answering them needs.

Their keys are made for these events, and exist only in the tables of a local stack or a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.aws.dynamodb.jobs import JobTable
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.s3.payloads import Payloads
from gateway.tenancy.keys import Key, digest_of, presented_key
from gateway.tenancy.tenant import Tenant
from gateway.tenancy.users import User
from gateway.usage.records import KeyId, TenantId
from scripts.project.template import ROOT, DeclaredFunction

FOLDER = ROOT / "events"
TENANT = Tenant(TenantId("demo-research"), "demo-research", ("research", "ops"), allowed_model_arns=("*",))
KEY_ID = KeyId("key_0a1b2c3d4e5f")  # in the events of the API
REVOKED_ID = KeyId("key_1b2c3d4e5f60")
OWN_IDS = (KeyId("key_2c3d4e5f6071"), KeyId("key_3d4e5f607182"))  # of the first user
USERS = ("ann@example.com", "leaver@example.com", "gone@example.com")
DECOY_ID = KeyId("key_5f4e3d2c1b0a")
DELETED = Tenant(TenantId("old-team"), "Old team", ("research",))

# A key that the authorizer does not know.
REFUSED = ("authorize_tenant/unknown", "authorize_tenant/decoy", "authorize_tenant/without_key")


@dataclass(frozen=True)
class Case:
    """One event of a function; `folder` has its code, below functions/."""

    folder: str
    name: str
    path: Path

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.path.read_text())
        return event

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


def cases() -> list[Case]:
    found = sorted(FOLDER.rglob("*.json"))
    return [Case(str(path.parent.relative_to(FOLDER)), path.stem, path) for path in found]


def event(name: str) -> dict[str, Any]:
    return Case("", name, FOLDER / f"{name}.json").event


def folder_of(function: DeclaredFunction) -> str:
    return str(Path(function.code).relative_to("functions"))


def seed(tenants: str, jobs: JobTable) -> None:
    """Create the tenants, the keys and the submitted call of the events if they do not exist."""
    known, now = TenantTable(tenants), datetime.now(UTC)
    for tenant in (TENANT, DELETED):
        if known.tenant(tenant.tenant_id) is None:
            known.put_tenant(tenant)
    own, decoy = (digest_of(presented_key(event(f"authorize_tenant/{case}")["headers"])) for case in ("key", "decoy"))
    for key in (
        Key(KEY_ID, TENANT.tenant_id, own, "of the events", now),
        Key(REVOKED_ID, TENANT.tenant_id, digest_of(REVOKED_ID), "to be revoked", now),
        *(Key(key_id, TENANT.tenant_id, digest_of(key_id), "own", now, user_id=USERS[0]) for key_id in OWN_IDS),
        Key(DECOY_ID, TenantId(""), decoy, "decoy of the events", now, decoy=True),
    ):
        if known.key(key.digest) is None:
            known.put_key(key)
    register = TenantRegister(tenants)
    register.remove_users(TENANT.tenant_id)  # an event that makes or deletes one is sent more than once
    for user_id in USERS:
        known.put_user(User(TENANT.tenant_id, user_id, now, now, version=1))
    (message,) = event("complete_invocation/sqs")["Records"]
    submission = jobs.submission(message["body"])
    if jobs.find(submission.request_id) is None:
        jobs.submit(submission, now)


def job_table(results: str, usage: str, queue_url: str, payloads: str) -> JobTable:
    return JobTable(results, usage, queue_url, Payloads(payloads), timedelta(days=1))
