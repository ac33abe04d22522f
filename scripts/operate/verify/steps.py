"""A step asks one thing of a deployed gateway and is judged: ok, failed, or not asked with the reason.

StepError       what was asked did not answer as it must
NotAskedError   it could not be asked here: no right to, no such operation, no flag
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
# An AWS that is a stand-in knows less than the real one.
_UNKNOWN = {"UnknownOperation", "UnknownOperationException", "InvalidAction", "NotImplemented", "501", "404"}


class StepError(Exception):
    """What was asked did not answer as it must: a sentence that says how."""


class NotAskedError(Exception):
    """It could not be asked here: a sentence that says why."""


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Step:
    """One question. `ask` returns what is worth telling; it raises StepError or NotAskedError."""

    number: int  # in the runbook
    name: str
    proves: str
    ask: Callable[[Deployment], str]
    needs_stack: bool = True


@dataclass(frozen=True)
class Result:
    """How a step ended."""

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
    """The results of all steps, as each comes to its end."""
    for step in steps:
        if step.name in left_out:
            yield Result(step.number, step.name, step.proves, Verdict.NOT_ASKED, "left out by --without")
        else:
            verdict, detail = judged(step, deployment)
            yield Result(step.number, step.name, step.proves, verdict, detail)


def judged(step: Step, deployment: Deployment) -> tuple[Verdict, str]:
    """Ask one step. What AWS, or the way there, says of it is a verdict as well, never a traceback."""
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
        return Verdict.FAILED, f"an answer has not the expected shape: {type(error).__name__} {error}"


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def sentence(error: Exception) -> str:
    """What a fault on the way to AWS or to the gateway means for the person who runs this."""
    match error:
        case ClientError() if code_of(error) in _UNKNOWN:
            return f"this AWS does not know {error.operation_name}"
        case requests.exceptions.SSLError():
            return f"the gateway's certificate is not trusted: {error}"
        case requests.RequestException():
            return "the gateway does not answer; name an address of it that can be reached from here by --api-url"
        case BotoCoreError() | ClientError():
            return refusals.sentence(error)
        case _:
            return " ".join(str(error).split())
