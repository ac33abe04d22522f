"""template.yaml and openapi.yaml as an outline, with lines: `python -m scripts.project.outline`, or `make outline`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from scripts.project import quick_yaml
from scripts.project.command import run
from scripts.project.template import ROOT

TEMPLATE, SPEC = ROOT / "template.yaml", ROOT / "openapi.yaml"


@dataclass(frozen=True)
class Entry:
    """A resource of the template."""

    line: int
    logical_id: str
    kind: str


@dataclass(frozen=True)
class Region:
    """What editors fold: the resources of one story, and what it is about."""

    line: int
    name: str
    about: str
    entries: list[Entry] = field(default_factory=list)


def sections(text: str) -> Iterator[tuple[int, str, int]]:
    """Line, name and length in lines of each part of a YAML file."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines, 1) if re.match(r"[A-Za-z][\w-]*:", line)]
    for start, end in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
        yield start, lines[start - 1].partition(":")[0], end - start


def regions(text: str) -> list[Region]:
    """The regions of the template's resources. Raises ValueError for a resource outside of any."""
    found: list[Region] = []
    lines = text.splitlines()
    begun, is_open = lines.index("Resources:"), False
    for number, line in enumerate(lines[begun + 1 :], begun + 2):
        if said := re.match(r"  # region ([\w-]+): (.+)", line):
            found.append(Region(number, said[1], said[2]))
            is_open = True
        elif line == "  # endregion":
            is_open = False
        elif said := re.match(r"  (\w+):", line):
            if not is_open:
                raise ValueError(f"template.yaml:{number}: {said[1]} is in no region")
            kind = next(text for text in lines[number:] if text.startswith("    Type:"))
            found[-1].entries.append(Entry(number, said[1], kind.partition(": ")[2]))
    return found


def of_template(text: str) -> Iterator[str]:
    yield f"template.yaml, {len(text.splitlines())} lines"
    for line, name, length in sections(text):
        yield f"{line:6}  {name} ({length} lines)"
    for region in regions(text):
        yield ""
        yield f"{region.line:6}  {region.name}: {region.about}"
        for entry in region.entries:
            yield f"{entry.line:6}    {entry.logical_id:36} {entry.kind.removeprefix('AWS::')}"


def of_spec(text: str) -> Iterator[str]:
    spec = quick_yaml.read(text)
    lines = text.splitlines()
    yield f"openapi.yaml, {len(lines)} lines"
    for start, name, length in sections(text):
        yield f"{start:6}  {name} ({length} lines)"
    places = {
        said[1]: number for number, line in enumerate(lines, 1) if (said := re.match(r"      operationId: (\w+)", line))
    }
    for tag in spec["tags"]:
        yield ""
        yield f"        {tag['name']}: {tag['description']}"
        for path, methods in spec["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation.get("tags", ()):
                    name = operation["operationId"]
                    yield f"{places[name]:6}    {name:36} {method.upper()} {path}"
    parts = spec["components"]
    yield ""
    for number, line in enumerate(lines, 1):
        if (said := re.fullmatch(r"  (\w+):", line)) and said[1] in parts:
            yield f"{number:6}  components/{said[1]}: {len(parts[said[1]])}"


def main() -> int:
    print("\n".join([*of_template(TEMPLATE.read_text()), "", *of_spec(SPEC.read_text())]))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
