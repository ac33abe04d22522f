"""The house's Redocly rules for openapi.yaml: each finds the fault it is for."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from scripts.check import spec as linter
from scripts.project import quick_yaml
from scripts.project.environments import has_node
from tests.contract.contract import SPEC

OURS = [
    name for name in quick_yaml.read((linter.HOME / "redocly.yaml").read_text())["rules"] if name.startswith("rule/")
]


def broken() -> dict[str, Any]:
    spec = deepcopy(SPEC)
    operation = spec["paths"]["/usage"]["get"]
    operation |= {"operationId": "usage_report", "summary": "what was used"}
    del operation["responses"]["429"], operation["security"]
    spec["security"] = [{"TenantKey": [], "UsagePlanKey": []}]
    responses, schemas = spec["components"]["responses"], spec["components"]["schemas"]
    responses["NotFound"]["description"] = "no"
    responses["NotFound"]["content"]["application/json"]["schema"] = {"type": "object"}
    del responses["Conflict"]["headers"]["x-request-id"]
    schemas["an_event"] = {"type": "object"}
    return spec


def test_each_rule_of_the_house_finds_what_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not has_node():  # then nothing is linted, and that is said
        assert linter.main() == 0
        assert linter.NO_NODE in capsys.readouterr().out
        return
    (tmp_path / "openapi.json").write_text(json.dumps(broken()))
    done = linter.lint(tmp_path / "openapi.json")
    assert done.returncode
    found = set(re.findall(r"(rule/[a-z-]+|response-contains-header)", done.stdout + done.stderr))
    assert found == {*OURS, "response-contains-header"}
