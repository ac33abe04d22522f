"""Scans the templates for what is unsafe, by checkov: `python -m scripts.check.scan`. Asks nobody but this machine.

What is scanned is plain CloudFormation, as it is deployed by default and with everything on: checkov reads no Fn::If.
Every finding stands in `EXPLAINED` or fails the scan, and so does an explanation of what is found no more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from scripts.check.expand import DEPLOYMENTS, TEMPLATES, Stack, expand
from scripts.project.environments import NotSetUp, set_up
from scripts.project.template import ROOT

ENVIRONMENT = ROOT / ".venv-checks"
LOCK = ROOT / "scripts/check/requirements.lock"


@dataclass(frozen=True, order=True)
class Finding:
    """What checkov has against one resource of a template."""

    check: str
    resource: str
    where: str  # template and deployment
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.resource}: {self.check} {self.says}"


@dataclass(frozen=True)
class Explained:
    """Findings that stay, and why; `resource` and `where` are patterns."""

    check: str
    resource: str
    why: str
    where: str = "*"

    def covers(self, finding: Finding) -> bool:
        said = (self.resource, finding.resource), (self.where, finding.where)
        return finding.check == self.check and all(fnmatchcase(text, pattern) for pattern, text in said)


FUNCTION, TABLE, BUCKET = "AWS::Lambda::Function.*", "AWS::DynamoDB::Table.", "AWS::S3::Bucket."
DISTRIBUTION = "AWS::CloudFront::Distribution.Browsers"
PUBLIC, PRIVATE = (f"template.yaml, {name}" for name in DEPLOYMENTS if name.endswith("with everything"))
BY_DEFAULT = "template.yaml, by default*"  # the functions in a VPC or not
_OWN_KEY = "AWS's own key encrypts it; KmsKeyArn gives one of yours, which costs, and which can be lost."
_NETWORK = "Network puts them into subnets; a public gateway reaches public endpoints of AWS, with IAM and TLS."
EXPLAINED = [
    Explained(
        "CKV_AWS_115",
        FUNCTION,
        "What is reserved for one function is taken from all others of the account, so it is a choice: three "
        "parameters reserve it where models are called; usage plans and budgets hold tenants back.",
    ),
    Explained(
        "CKV_AWS_116",
        FUNCTION,
        "A function's own dead-letter queue is for asynchronous events. API Gateway and Step Functions wait for the "
        "answer, the queue of jobs has a dead-letter queue, and the sweep finds at its next turn what it left.",
    ),
    Explained("CKV_AWS_117", FUNCTION, _NETWORK, BY_DEFAULT),
    Explained("CKV_AWS_117", FUNCTION, _NETWORK, PUBLIC),
    Explained("CKV_AWS_119", f"{TABLE}*", _OWN_KEY, BY_DEFAULT),
    Explained(
        "CKV_AWS_120",
        "AWS::ApiGateway::Stage.*",
        "An answer is one tenant's, and paid for: a cache of the stage would give it to others.",
    ),
    Explained("CKV_AWS_158", "AWS::Logs::LogGroup.*", _OWN_KEY, BY_DEFAULT),
    Explained("CKV_AWS_173", FUNCTION, _OWN_KEY, BY_DEFAULT),
    Explained(
        "CKV_AWS_174",
        DISTRIBUTION,
        "CloudFront's own name comes with CloudFront's own certificate, whose protocols nobody can choose; choosing "
        "them takes a domain and a certificate of yours.",
    ),
    Explained(
        "CKV_AWS_18",
        f"{BUCKET}*",
        "Logs need a bucket that takes them: S3AccessLogsBucket names it.",
        BY_DEFAULT,
    ),
    Explained(
        "CKV_AWS_21",
        f"{BUCKET}Payload*",
        "Requests, answers and Bedrock's log of them are to be gone when their time is over, all versions of them.",
    ),
    Explained(
        "CKV_AWS_26",
        "AWS::SNS::Topic.*",
        "Alarms and events may not use the key that AWS manages for SNS; KmsKeyArn gives one that they may.",
        BY_DEFAULT,
    ),
    Explained(
        "CKV_AWS_27",
        "AWS::SQS::Queue.*",
        "SQS's own keys encrypt it (SqsManagedSseEnabled), which the check does not count.",
        BY_DEFAULT,
    ),
    Explained("CKV_AWS_28", f"{TABLE}ResultsTable", "Answers live an hour; there is nothing to restore."),
    Explained(
        "CKV_AWS_28",
        f"{TABLE}IdempotencyTable",
        "Its entries live a week at most; a restored one would promise an answer that is gone.",
    ),
    Explained(
        "CKV_AWS_33",
        "AWS::KMS::Key.Key",
        "Everybody is everybody of this account (kms:CallerAccount), and only through a service that keeps "
        "(kms:ViaService): the policy of AWS's own keys, without which every role would need a grant of its own.",
    ),
    Explained(
        "CKV_AWS_68",
        DISTRIBUTION,
        "CloudFront takes a web ACL of us-east-1 alone, and this stack may be anywhere. It caches nothing: the API "
        "behind it has the authorizer, and WAF where it is on, for every request.",
    ),
    Explained(
        "CKV_AWS_76",
        "AWS::ApiGateway::Stage.*",
        "AccessLog=off is for who may not change the account's role for API Gateway's logs; it is on by default.",
        PRIVATE,
    ),
    Explained(
        "CKV_AWS_86",
        DISTRIBUTION,
        "It caches nothing, so every request but the browser's question before it (OPTIONS, which carries nothing) is "
        "in the access log of the API.",
    ),
]


def deployments(folder: Path) -> Iterator[tuple[str, str]]:
    """Put the templates there as they are deployed; the name of each file, and what it is."""
    for number, (name, given) in enumerate(DEPLOYMENTS.items()):
        for source in TEMPLATES:
            template = expand(source)
            resources = Stack(template, given).decided()
            for resource in resources.values():
                # The spec is half of all that there is to read, and no check looks into it.
                if resource["Type"] == "AWS::ApiGateway::RestApi":
                    del resource["Properties"]["Body"]
            parameters = {
                parameter: {**declared, "Default": given.get(parameter, declared.get("Default", ""))}
                for parameter, declared in template["Parameters"].items()
            }
            file = f"{number}-{source.stem}.json"
            document = {"AWSTemplateFormatVersion": "2010-09-09", "Parameters": parameters, "Resources": resources}
            (folder / file).write_text(json.dumps(document, indent=1))
            yield file, f"{source.relative_to(ROOT)}, {name}"


def scan(folder: Path) -> list[Finding]:
    """Everything that checkov finds in the templates. Raises NotSetUp, or RuntimeError with what it said."""
    set_up(ENVIRONMENT, LOCK)
    names = dict(deployments(folder))
    files = [part for name in names for part in ("-f", name)]
    told = ["--framework", "cloudformation", "--skip-download", "--quiet", "--compact", "-o", "json"]
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "AWS_", "BC_", "PRISMA_"))
    }
    program = [str(ENVIRONMENT / "bin/python"), "-m", "checkov.main", *files, *told]
    done = subprocess.run(program, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"checkov did not scan:\n{done.stdout[-2000:]}{done.stderr[-2000:]}") from None
    if said["summary"]["parsing_errors"] or said["summary"]["resource_count"] < len(names):
        raise RuntimeError(f"checkov did not read a template: {said['summary']}")
    return sorted(
        Finding(found["check_id"], found["resource"], names[found["file_path"].rpartition("/")[2]], found["check_name"])
        for found in said["results"]["failed_checks"]
    )


def verdict(findings: Iterable[Finding], explained: Iterable[Explained]) -> Iterator[str]:
    """What is not as it should be, one sentence each."""
    findings = list(findings)
    explained = list(explained)
    for finding in findings:
        if not any(reason.covers(finding) for reason in explained):
            yield f"not explained: {finding}"
    for reason in explained:
        if not any(reason.covers(finding) for finding in findings):
            yield f"explained, and found no more: {reason.check} {reason.resource}"


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as folder:
            findings = scan(Path(folder))
    except (NotSetUp, RuntimeError) as broken:
        print(broken, file=sys.stderr)
        return 1
    wrong = list(verdict(findings, EXPLAINED))
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    print(f"{len(findings)} findings, {sum(s.startswith('not') for s in wrong)} of them not explained")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
