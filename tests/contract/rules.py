"""Evaluates a template's rules, as CloudFormation does for parameters before it creates resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.check.expand import Stack


class _Rules(Stack):
    """Fn::Contains is known in rules alone; the other functions are those of conditions."""

    def resolve(self, node: Any) -> Any:
        if isinstance(node, dict) and set(node) == {"Fn::Contains"}:
            listed, wanted = map(self.resolve, node["Fn::Contains"])
            given = [item.strip() for item in listed.split(",")] if isinstance(listed, str) else listed
            return str(wanted) in map(str, given)
        return super().resolve(node)


def refusals(template: Mapping[str, Any], region: str, **given: str) -> list[str]:
    """The violations of the template's rules by these parameters in this region."""
    stack = _Rules(template, given, region)
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if stack.resolve(rule.get("RuleCondition", True))
        for assertion in rule["Assertions"]
        if not stack.resolve(assertion["Assert"])
    ]
