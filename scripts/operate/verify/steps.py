"""A step checks one property of a deployed gateway; it ends as ok, failed, or not asked with the reason.

StepError       the checked property does not hold
NotAskedError   the check was not possible here: no permission, no such operation, no flag
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from scripts.operate.admin_api import Refused
from scripts.operate.verify.deployment import Deployment
from scripts.project import refusals

RUNBOOK = "docs/run/first-deployment.md"
# A stand-in for AWS lacks some operations.
_UNKNOWN = {"UnknownOperation", "UnknownOperationException", "InvalidAction", "NotImplemented", "501", "404"}


class StepError(Exception):
    """The checked property does not hold; carries a sentence with the difference."""


class NotAskedError(Exception):
    """The check was not possible here; carries a sentence with the reason."""


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Step:
    """One check. `ask` returns its notes; it raises StepError or NotAskedError."""

    number: int  # in the runbook
    name: str
    proves: str
    ask: Callable[[Deployment], str]
    needs_stack: bool = True


@dataclass(frozen=True)
class Result:
    """A step's result."""

    number: int
    name: str
    proves: str
    verdict: Verdict
    detail: str

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def must(truth: bool, sentence: str) -> None:
    if not truth:
        raise StepError(sentence)


def results(steps: Sequence[Step], deployment: Deployment, left_out: frozenset[str]) -> Iterator[Result]:
    """The results of all steps, each when its step ends."""
    for step in steps:
        if step.name in left_out:
            yield Result(step.number, step.name, step.proves, Verdict.NOT_ASKED, "left out by --without")
        else:
            verdict, detail = judged(step, deployment)
            yield Result(step.number, step.name, step.proves, verdict, detail)


def judged(step: Step, deployment: Deployment) -> tuple[Verdict, str]:
    """Run one step. An error of AWS or of the network is a result too, never a traceback."""
    try:
        return Verdict.OK, step.ask(deployment)
    except NotAskedError as reason:
        return Verdict.NOT_ASKED, str(reason)
    except StepError as fault:
        return Verdict.FAILED, str(fault)
    except ClientError as error:
        if code_of(error) in refusals.DENIED | _UNKNOWN:
            return Verdict.NOT_ASKED, sentence(error)
        return Verdict.FAILED, sentence(error)
    except Refused as refused:
        if refused.status == 403:
            return (
                Verdict.NOT_ASKED,
                "these credentials may not call /admin: grant execute-api:Invoke, or give a key by --key",
            )
        return Verdict.FAILED, f"/admin answers {refused}"
    except (BotoCoreError, requests.RequestException) as error:
        return Verdict.FAILED, sentence(error)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        return Verdict.FAILED, f"a response has an unexpected shape: {type(error).__name__} {error}"


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def sentence(error: Exception) -> str:
    """The result for an error on the way to AWS or to the gateway."""
    match error:
        case ClientError() if code_of(error) in _UNKNOWN:
            return f"this AWS does not support {error.operation_name}"
        case requests.exceptions.SSLError():
            return f"the gateway's certificate is not trusted: {error}"
        case requests.RequestException():
            return "the gateway does not respond: use --api-url with an address that is reachable from here"
        case BotoCoreError() | ClientError():
            return refusals.sentence(error)
        case _:
            return " ".join(str(error).split())
