"""tenants.yaml: its content, and the line of each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.operate.tenants_file import WrongFile, read, read_issuers
from scripts.project.template import ROOT


def test_the_example_is_a_right_file() -> None:
    first, second = read(ROOT / "examples/tenants.yaml")
    assert (first.tenant_id, second.tenant_id) == ("data-science", "marketing")
    assert first.shown["budget"] == {"monthly_usd": "500", "hard": True, "thresholds": [50, 80, 100]}
    assert first.keys is not None
    assert [(key.label, key.expires_at) for key in first.keys] == [
        ("notebooks", None),
        ("administration", None),
        ("ci", "2030-01-01T00:00:00Z"),
    ]
    assert first.keys[1].body == {"label": "administration", "user_id": "ann@example.com", "role": "tenant-admin"}
    assert first.users is not None
    assert [(user.user_id, user.settings) for user in first.users] == [("ann@example.com", {"display_name": "Ann"})]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("- tenant_id: a\n  nmae: x\n", ["2: nmae: Extra inputs are not permitted"]),
        ("- tenant_id: a\n- name: x\n", ["2: a tenant must be a mapping with a text tenant_id"]),
        ("- tenant_id: a\n- tenant_id: a\n", ["2: a is already on line 1"]),
        (
            "- tenant_id: a\n  budget:\n    hard: true\n    monthly_usd: 1.5\n",
            ["4: budget.monthly_usd: Input should be"],
        ),
        ("- tenant_id: a\n  budget:\n    hard: true\n", ["2: budget.monthly_usd: Field required"]),
        ("- tenant_id: a\n  name: x\n  name: y\n", ["3: name: duplicate key"]),
        (
            "- tenant_id: a\n  cost_centre_budgets: {b: {monthly_usd: '1'}}\n",
            ["2: cost_centre_budgets: 'b' is not one"],
        ),
        ("- tenant_id: a#b\n", ["1: tenant_id: must begin"]),
        ("- tenant_id: a\n  keys:\n  - label: x\n  - label: x\n", ["4: keys: two have"]),
        ("- tenant_id: a\n  keys:\n  - labels: x\n", ["3: keys.0.labels: Extra"]),
        ("- tenant_id: a\n  keys:\n  - role: king\n", ["3: keys.0.role: Input should be"]),
        ("- tenant_id: a\n  users: x\n", ["2: users: must be a list"]),
        ("- tenant_id: a\n  users:\n  - name: x\n", ["3: users: each must be a mapping with a text user_id"]),
        ("- tenant_id: a\n  users:\n  - user_id: x\n    role: member\n", ["4: users.0.role: Extra"]),
        ("- tenant_id: a\n  users:\n  - user_id: a b\n", ["3: users: A user's id"]),
        ("- tenant_id: a\n  users:\n  - user_id: x\n  - user_id: X\n", ["4: users: two have the name 'x'"]),
        ("- tenant_id: a\n  suspended: 'no'\n- 7\n", ["2: suspended: Input", "3: a tenant must be"]),
        ("- tenant_id: [a\n", ["2: "]),
        ("tenant: x\n", ["1: must be a list of tenants"]),
        ("tenants: x\nissuers: []\n", ["1: must be a list of tenants"]),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, faults: list[str]) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text(text)
    with pytest.raises(WrongFile) as wrong:
        read(path)
    lines = str(wrong.value).splitlines()
    assert len(lines) == len(faults)
    for line, fault in zip(lines, faults, strict=True):
        assert line.startswith(f"{path}:{fault}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("issuers: x\n", "1: issuers: must be a list"),
        ("tenants: []\nissuers:\n- issuer: x\n", "3: an issuer must be a mapping with a text issuer_id"),
        ("issuers:\n- issuer_id: a\n- issuer_id: a\n", "3: issuers: two have the id a"),
    ],
)
def test_a_fault_of_an_issuer_is_told_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text(text)
    with pytest.raises(WrongFile) as wrong:
        read_issuers(path)
    assert str(wrong.value) == f"{path}:{fault}"


def test_a_file_has_tenants_and_issuers(tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text("issuers: [{issuer_id: okta, tenants: [a]}]\ntenants: [{tenant_id: a}]\n")
    assert [tenant.tenant_id for tenant in read(path)] == ["a"]
    assert [(issuer.issuer_id, issuer.settings) for issuer in read_issuers(path)] == [("okta", {"tenants": ["a"]})]
    path.write_text("- tenant_id: a\n")
    assert read_issuers(path) == []


def test_no_file_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="No such file"):
        read(tmp_path / "none.yaml")
