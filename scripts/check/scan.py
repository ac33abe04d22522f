"""Scans the templates for security faults with checkov, offline: `python -m scripts.check.scan`.

It scans plain CloudFormation, once with the default parameters and once with every feature on: checkov ignores Fn::If.
A finding that is not in `EXPLAINED` fails the scan, and so does an explanation without a finding.
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
    """A fault that checkov finds in one resource of a template."""

    check: str
    resource: str
    where: str  # template and deployment
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.resource}: {self.check} {self.says}"


@dataclass(frozen=True)
class Explained:
    """An accepted finding and its reason; `resource` and `where` are patterns."""

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
_OWN_KEY = "AWS's own key encrypts it; KmsKeyArn names a key of yours, which costs money and can be lost."
_NETWORK = "Network puts them into subnets; a public gateway reaches public endpoints of AWS, with IAM and TLS."
EXPLAINED = [
    Explained(
        "CKV_AWS_115",
        FUNCTION,
        "Concurrency reserved for one function is lost to all others of the account, so it is optional: three "
        "parameters reserve it for the functions that call models; usage plans and budgets limit tenants.",
    ),
    Explained(
        "CKV_AWS_116",
        FUNCTION,
        "A function's own dead-letter queue is for asynchronous events. API Gateway and Step Functions wait for the "
        "answer, the queue of jobs has a dead-letter queue, and the sweep's next run repeats what a failed one left.",
    ),
    Explained("CKV_AWS_117", FUNCTION, _NETWORK, BY_DEFAULT),
    Explained("CKV_AWS_117", FUNCTION, _NETWORK, PUBLIC),
    Explained("CKV_AWS_119", f"{TABLE}*", _OWN_KEY, BY_DEFAULT),
    Explained(
        "CKV_AWS_120",
        "AWS::ApiGateway::Stage.*",
        "An answer belongs to the tenant that paid for it: a cache of the stage would serve it to others.",
    ),
    Explained("CKV_AWS_158", "AWS::Logs::LogGroup.*", _OWN_KEY, BY_DEFAULT),
    Explained("CKV_AWS_173", FUNCTION, _OWN_KEY, BY_DEFAULT),
    Explained(
        "CKV_AWS_174",
        DISTRIBUTION,
        "CloudFront's own domain has CloudFront's own certificate, whose protocols are fixed; choosing them needs a "
        "domain and a certificate of yours.",
    ),
    Explained(
        "CKV_AWS_18",
        f"{BUCKET}*",
        "Access logs need a bucket: S3AccessLogsBucket names it.",
        BY_DEFAULT,
    ),
    Explained(
        "CKV_AWS_21",
        f"{BUCKET}Payload*",
        "Requests, answers and Bedrock's log of them must be deleted, in all versions, when their retention ends.",
    ),
    Explained(
        "CKV_AWS_26",
        "AWS::SNS::Topic.*",
        "Alarms and events may not use the key that AWS manages for SNS; KmsKeyArn names a key that they may use.",
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
        "Its entries live a week at most; a restored entry would refer to a deleted answer.",
    ),
    Explained(
        "CKV_AWS_33",
        "AWS::KMS::Key.Key",
        "The principal `*` is limited to this account (kms:CallerAccount) and to calls through a storage service "
        "(kms:ViaService), like the policy of AWS's own keys. Without it every role would need its own grant.",
    ),
    Explained(
        "CKV_AWS_68",
        DISTRIBUTION,
        "CloudFront accepts a web ACL of us-east-1 only, and this stack may be in any region. It caches nothing: "
        "every request reaches the API's authorizer, and WAF if it is on.",
    ),
    Explained(
        "CKV_AWS_76",
        "AWS::ApiGateway::Stage.*",
        "AccessLog=off is for deployers who may not change the account's role for API Gateway's logs; the default is "
        "on.",
        PRIVATE,
    ),
    Explained(
        "CKV_AWS_86",
        DISTRIBUTION,
        "It caches nothing, so the API's access log has every request except the browser's preflight (OPTIONS, "
        "without data).",
    ),
]


def deployments(folder: Path) -> Iterator[tuple[str, str]]:
    """Write the templates in their deployed form; returns each file's name and its description."""
    for number, (name, given) in enumerate(DEPLOYMENTS.items()):
        for source in TEMPLATES:
            template = expand(source)
            resources = Stack(template, given).decided()
            for resource in resources.values():
                # The spec is half of the text, and no check reads it.
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
    """checkov's findings in the templates. Raises NotSetUp, or RuntimeError with checkov's output."""
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
    """The faults of the scan, one sentence each."""
    findings = list(findings)
    explained = list(explained)
    for finding in findings:
        if not any(reason.covers(finding) for reason in explained):
            yield f"not explained: {finding}"
    for reason in explained:
        if not any(reason.covers(finding) for finding in findings):
            yield f"explained, but no longer found: {reason.check} {reason.resource}"


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
