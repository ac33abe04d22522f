"""docs/reference/parameters.md, from template.yaml: `python -m scripts.generate.parameters [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.generate.pages import cell, head, table, write_or_check
from scripts.project.template import ROOT, load

PAGE = ROOT / "docs/reference/parameters.md"


def page(template: Mapping[str, Any]) -> Iterator[str]:
    """A row for each parameter, in the groups and the order of the console."""
    yield from head("Which parameters can I set when I deploy?", "template.yaml", "parameters")
    yield "Each parameter of `template.yaml`, in the groups of CloudFormation's console. A new deployment starts with"
    yield "the defaults, and a later one keeps earlier values. `sam deploy --parameter-overrides Name=value` sets one."
    for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        yield from ("", f"## {group['Label']['default']}", "")
        rows = [_row(name, template["Parameters"][name]) for name in group["Parameters"]]
        yield from table(("parameter", "default", "description"), rows)


def _row(name: str, declared: Mapping[str, Any]) -> tuple[str, str, str]:
    default = str(declared.get("Default", ""))
    allowed = f" One of {', '.join(map(str, declared['AllowedValues']))}." if "AllowedValues" in declared else ""
    return f"`{name}`", f"`{default}`" if default else "", cell(declared["Description"]) + allowed


def files() -> dict[Path, str]:
    return {PAGE: "\n".join(page(load(ROOT / "template.yaml"))) + "\n"}


def main() -> int:
    return write_or_check(files(), "template.yaml", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
