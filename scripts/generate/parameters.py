"""The parameters of template.yaml as a table in README.md: `python -m scripts.generate.parameters [--check]`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from scripts.project.template import ROOT, load

README = ROOT / "README.md"
MARKS = re.compile(r"(<!-- parameters: made by `make generate` -->\n).*?(<!-- end of parameters -->)", re.DOTALL)


def table(template: dict[str, Any]) -> Iterator[str]:
    """A row for each parameter, in the groups and the order in which the console shows them."""
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    yield "| parameter | default | what |"
    yield "|---|---|---|"
    for group in interface["ParameterGroups"]:
        yield f"| **{group['Label']['default']}** | | |"
        for name in group["Parameters"]:
            said = template["Parameters"][name]
            allowed = f" One of {', '.join(map(str, said['AllowedValues']))}." if "AllowedValues" in said else ""
            what = " ".join(said["Description"].split()).replace("|", "\\|")
            yield f"| `{name}` | {_shown(said.get('Default', ''))} | {what}{allowed} |"


def _shown(default: Any) -> str:
    return f"`{default}`" if str(default) else ""


def main() -> int:
    text = README.read_text(encoding="utf-8")
    rows = "\n".join(table(load(ROOT / "template.yaml")))
    fresh = MARKS.sub(lambda found: f"{found[1]}\n{rows}\n\n{found[2]}", text)
    if "--check" in sys.argv[1:]:
        if fresh != text:
            print("README.md has other parameters than template.yaml: run `make generate`", file=sys.stderr)
        return int(fresh != text)
    README.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
