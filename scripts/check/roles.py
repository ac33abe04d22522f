"""The roles of template.yaml as grants; `python -m scripts.check.roles` prints them as a table.

A grant allows one action on one resource. Resources of the template have their logical ids: `UsageTable/index/*`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from scripts.project.template import ROOT, STATE_MACHINE, functions, load, of_type

PSEUDO = {
    "Partition": "aws",
    "Region": "us-east-1",
    "AccountId": "123456789012",
    "URLSuffix": "amazonaws.com",
    "StackName": "STACK",
}
_ANY, _ALL = "ForAnyValue:", "ForAllValues:"


@dataclass(frozen=True)
class Ask:
    """The permission that one AWS call needs; `context` has the values of IAM's condition keys."""

    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Grant:
    """One action that a role allows on one resource; `*` and `?` are wildcards."""

    action: str
    resource: str
    condition: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"

    def covers(self, ask: Ask) -> bool:
        named = fnmatchcase(ask.action, self.action) and fnmatchcase(ask.resource, self.resource)
        return named and self._holds(dict(ask.context))

    def _holds(self, context: Mapping[str, Sequence[str]]) -> bool:
        """The conditions on the call's own parameters; AWS adds the values of others, such as `kms:ViaService`."""
        for operator, keys in self.condition.items():
            like = operator.endswith("StringLike")
            for key, wanted in keys.items():
                patterns = wanted if isinstance(wanted, list) else [wanted]
                given = context.get(key)
                if given is None:
                    if key.startswith(("dynamodb:", "s3:")):
                        return operator.startswith(_ALL)  # true without a value
                    continue
                fits = [any(fnmatchcase(one, p) if like else one == p for p in patterns) for one in given]
                if not (any(fits) if operator.startswith(_ANY) else all(fits)):
                    return False
        return True


def grants(statements: Sequence[Mapping[str, Any]]) -> list[Grant]:
    """Every action of the statements with each of its resources, whatever condition of the template applies."""
    return [
        Grant(str(action), resource, statement.get("Condition", {}))
        for statement in _either(statements)
        for action in _either(statement["Action"])
        for resource in map(named, _either(statement["Resource"]))
    ]


def _either(part: Any) -> Iterator[Any]:
    """The items of a list, including those under Fn::If."""
    for item in part if isinstance(part, (list, tuple)) else [part]:
        if isinstance(item, dict) and "Fn::If" in item:
            yield from _either(item["Fn::If"][1:])
        elif isinstance(item, list):
            yield from _either(item)
        elif item != {"Ref": "AWS::NoValue"}:
            yield item


def named(resource: Any) -> str:
    """A resource as text: its logical id, a parameter's name, or an ARN in one account and region."""
    match resource:
        case str():
            return resource
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), "Arn"]}:
            return name
        case {"Fn::Sub": str(text)}:
            text = re.sub(r"\$\{AWS::(\w+)\}", lambda found: PSEUDO[found[1]], text)
            return re.sub(r"\$\{(\w+)(?:\.(?:Arn|Name))?\}", r"\1", text)
        case {"Fn::Sub": [str(text), dict() as made]}:  # the bucket or object that a URI parameter names
            text = text.replace("arn:${AWS::Partition}:s3:::", "")
            return re.sub(r"\$\{(\w+)\}", lambda found: _of_uri(made[found[1]]), text)
    raise ValueError(f"cannot parse the resource: {resource}")


def _of_uri(chosen: Any) -> str:
    """`CurUri` for everything after `s3://` in that parameter, `CurUri:bucket` for the bucket alone."""
    (name,) = set(re.findall(r"\$\{(\w+)\}", json.dumps(chosen)))
    return str(name) if chosen["Fn::Select"][0] == 1 else f"{name}:bucket"


def of_functions(template: Mapping[str, Any]) -> dict[str, list[Grant]]:
    return {name: grants(function.statements) for name, function in functions(template).items()}


def of_state_machines(template: Mapping[str, Any]) -> dict[str, list[Grant]]:
    machines = of_type(template, STATE_MACHINE).items()
    return {
        name: grants([s for policy in said.get("Policies", ()) for s in policy["Statement"]]) for name, said in machines
    }


def table(template: Mapping[str, Any]) -> str:
    """Markdown: a row per role and resource."""
    rows = ["| Role of | Resource | Actions | Only if |", "|---|---|---|---|"]
    told: set[str] = set()
    for owner, held in (of_functions(template) | of_state_machines(template)).items():
        lines: dict[tuple[str, str], list[str]] = {}
        for grant in held:
            resource = grant.resource.replace(":us-east-1:123456789012:", ":REGION:ACCOUNT:")
            condition = "; ".join(
                f"{key} is like {wanted if isinstance(wanted, str) else ', '.join(map(str, wanted))}"
                for keys in grant.condition.values()
                for key, wanted in keys.items()
            )
            lines.setdefault((resource, condition), []).append(grant.action)
        for (resource, condition), actions in lines.items():
            only = f"`{condition}`" if condition else ""
            shown = "" if owner in told else owner
            told.add(owner)
            rows.append(f"| {shown} | `{resource}` | {', '.join(sorted(set(actions)))} | {only} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    print(table(load(ROOT / "template.yaml")), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
