"""docs/reference/api.md and admin-api.md, from openapi.yaml: `python -m scripts.generate.api [--check]`."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.core.error_codes import ErrorCode
from scripts.generate.error_meanings import MEANINGS, operations_of
from scripts.generate.pages import cell, head, table, write_or_check
from scripts.project import quick_yaml
from scripts.project.template import ROOT

PAGE, ADMIN_PAGE = ROOT / "docs/reference/api.md", ROOT / "docs/reference/admin-api.md"
AUTH = {"TenantKey": "a tenant's key", "AdminSignature": "an AWS signature"}
TITLES = {
    "models": "Models",
    "openai": "OpenAI's formats",
    "anthropic": "Anthropic's format",
    "bedrock": "Bedrock's operations",
    "usage": "Usage, budget and quotes",
    "me": "The caller and its keys",
    "scim": "Users by SCIM",
}


ADMIN = "admin"


class Spec:
    """openapi.yaml, with its references followed."""

    def __init__(self, content: Mapping[str, Any]):
        self.content = content

    def resolve(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        found: Mapping[str, Any] = self.content["components"][kind][name]
        return found

    def statuses(self, code: ErrorCode) -> list[int]:
        found: list[int] = self.content["x-error-codes"]["codes"][code]["status"]
        return found

    def operations(self, tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for path, methods in self.content["paths"].items():
            for method, said in methods.items():
                if tag in said.get("tags", ()):
                    yield method.upper(), path, said


def page(spec: Spec) -> Iterator[str]:
    """The operations of tenants."""
    yield from head("Which operations does a tenant call?", "openapi.yaml", "api")
    yield "`openapi.yaml` at the root of the repository is the contract, with every field, limit and example. This page"
    yield "lists its operations. [Error codes](errors.md) and [the admin API](admin-api.md) have their own pages."
    yield ""
    common = ", ".join(f"{spec.statuses(code)[0]} `{code}`" for code in sorted(_common(spec)))
    yield f"Every operation here can also answer: {common}."
    for tag in spec.content["tags"]:
        if tag["name"] != ADMIN:
            yield from ("", f"## {TITLES[tag['name']]}", "")
            yield from _tag(spec, tag)


def admin_page(spec: Spec) -> Iterator[str]:
    yield from head("Which operations does an operator call?", "openapi.yaml", "api")
    (tag,) = [tag for tag in spec.content["tags"] if tag["name"] == ADMIN]
    yield "`gateway tenants` calls these operations. [The error codes](errors.md) explains each code."
    yield from _tag(spec, tag)


def _tag(spec: Spec, tag: Mapping[str, Any]) -> Iterator[str]:
    yield from (cell(tag["description"]), "")
    rows = [
        (f"[`{method} {path}`](#{said['operationId'].lower()})", cell(said["summary"]))
        for method, path, said in spec.operations(tag["name"])
    ]
    yield from table(("operation", "summary"), rows)
    for method, path, said in spec.operations(tag["name"]):
        yield from operation(spec, method, path, said)


def operation(spec: Spec, method: str, path: str, said: Mapping[str, Any]) -> Iterator[str]:
    (security,) = said["security"]
    yield from ("", f"### {said['operationId']}", "")
    (function,) = re.findall(r"\$\{(\w+)\.Arn\}", str(said["x-amazon-apigateway-integration"]["uri"]))
    told = cell(said.get("description") or said["summary"])
    yield f"`{method} {path}` with {AUTH[next(iter(security))]}, answered by `{function}`. {told}"
    yield ""
    if parameters := [spec.resolve(parameter) for parameter in said.get("parameters", ())]:
        names = [f"`{p['name']}` ({p['in']}{', required' if p.get('required') else ''})" for p in parameters]
        yield f"- Parameters: {', '.join(names)}"
    if "requestBody" in said:
        yield f"- Body: {_media(said['requestBody']['content'])}"
    good = {status: spec.resolve(response) for status, response in said["responses"].items() if int(status) < 400}
    answers = [f"{status} {_media(response.get('content', {}))}".strip() for status, response in good.items()]
    yield f"- Answers: {'; '.join(answers)}"
    yield f"- Errors: {_errors(spec, said['operationId'])}"


def _media(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{_schema(media['schema'])} as `{kind}`" for kind, media in content.items())


def _schema(schema: Mapping[str, Any]) -> str:
    return f"`{schema['$ref'].rpartition('/')[2]}`" if "$ref" in schema else str(schema.get("type", "JSON"))


def _errors(spec: Spec, operation_id: str) -> str:
    """The codes of an operation by status, except those of every operation."""
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for code in sorted(set(MEANINGS) - _common(spec)):
        if operation_id in operations_of(code):
            for status in spec.statuses(code):
                codes[status].append(f"`{code}`")
    return " · ".join(f"{status} {', '.join(codes[status])}" for status in sorted(codes))


def _common(spec: Spec) -> set[ErrorCode]:
    """The codes of every operation that takes a tenant's key."""
    keyed = {
        said["operationId"]
        for tag in spec.content["tags"]
        for _, _, said in spec.operations(tag["name"])
        if "TenantKey" in said["security"][0]
    }
    return {code for code in MEANINGS if keyed <= set(operations_of(code))}


def files() -> dict[Path, str]:
    spec = Spec(quick_yaml.read((ROOT / "openapi.yaml").read_text(encoding="utf-8")))
    return {PAGE: "\n".join(page(spec)) + "\n", ADMIN_PAGE: "\n".join(admin_page(spec)) + "\n"}


def main() -> int:
    return write_or_check(files(), "openapi.yaml", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
