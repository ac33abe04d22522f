"""The table of contents at the head of template.yaml: `python -m scripts.generate.contents [--check]`."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from scripts.generate.pages import write_or_check
from scripts.project.outline import Region, regions
from scripts.project.template import ROOT

TEMPLATE = ROOT / "template.yaml"
MARKS = re.compile(r"\A(# >>> contents, by `make generate`; do not edit\n).*?(# <<< contents\n)", re.DOTALL)
# The kinds of resource by which a reader searches.
KINDS = {
    "AWS::Serverless::Api", "AWS::Serverless::Function", "AWS::Serverless::StateMachine", "AWS::DynamoDB::Table",
    "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::CloudWatch::Dashboard", "AWS::EC2::VPC",
    "AWS::WAFv2::WebACL", "AWS::CloudFront::Distribution", "AWS::Glue::Database", "AWS::Serverless::LayerVersion",
}  # fmt: skip


def contents(found: list[Region]) -> Iterator[str]:
    yield "# Resources are in foldable regions, in the order of a request, then of a cent. Each function is followed by its log group,"
    yield "# permission, queue and alarm. `make outline` prints all of them, with their lines."
    for region in found:
        yield f"#   {region.name}: {region.about}"
        names = ", ".join(entry.logical_id for entry in region.entries if entry.kind in KINDS)
        yield from textwrap.wrap(names, 118, initial_indent="#     ", subsequent_indent="#     ")


def files() -> dict[Path, str]:
    text = TEMPLATE.read_text(encoding="utf-8")
    lines = "\n".join(contents(regions(text)))
    return {TEMPLATE: MARKS.sub(lambda marks: f"{marks[1]}{lines}\n{marks[2]}", text)}


def main() -> int:
    return write_or_check(files(), "its regions", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
