"""The scan of the templates fails on unexplained findings, and on explanations without a finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scripts.check.expand import DEPLOYMENTS, TEMPLATES
from scripts.check.scan import EXPLAINED, Explained, Finding, deployments, verdict

LOGS = Finding("CKV_AWS_158", "AWS::Logs::LogGroup.OneLogs", "template.yaml, private", "Ensure that it is encrypted")
WHY = Explained("CKV_AWS_158", "AWS::Logs::LogGroup.*", "CloudWatch's own key.")


def test_an_explained_finding_is_no_fault() -> None:
    assert not list(verdict([LOGS], [WHY]))


def test_a_finding_without_a_reason_is_a_fault() -> None:
    assert list(verdict([LOGS], [])) == [f"not explained: {LOGS}"]


def test_a_reason_without_a_finding_is_a_fault() -> None:
    assert list(verdict([], [WHY])) == ["explained, but no longer found: CKV_AWS_158 AWS::Logs::LogGroup.*"]


def test_every_reason_is_a_sentence_and_stands_once() -> None:
    assert all(reason.why.endswith(".") for reason in EXPLAINED)
    assert len({(reason.check, reason.resource, reason.where) for reason in EXPLAINED}) == len(EXPLAINED)


def test_a_reason_for_one_deployment_explains_no_other() -> None:
    by_default = replace(WHY, where="template.yaml, by default")
    assert not list(verdict([replace(LOGS, where="template.yaml, by default")], [by_default]))
    assert len(list(verdict([LOGS], [by_default]))) == 2


def test_what_is_scanned_is_every_template_in_every_deployment_with_nothing_left_to_choose(tmp_path: Path) -> None:
    files = dict(deployments(tmp_path))
    assert len(files) == len(TEMPLATES) * len(DEPLOYMENTS)
    assert not [name for name in files if "Fn::If" in (tmp_path / name).read_text()]
