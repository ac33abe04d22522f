"""`python -m scripts.dev.rest_api` prints API Gateway's import of openapi.yaml; `--rules` prints the rules."""

from __future__ import annotations

import argparse
import sys

from scripts.dev.rest_api.importing import ImportRefused, RestApi, import_rest_api
from scripts.dev.rest_api.rules import RULES


def rules() -> str:
    return "\n\n".join(
        f"{rule.name} (at {rule.at}: {rule.outcome})\n  {rule.what}\n  source: {rule.source}\n  test: {rule.test}"
        for rule in RULES.values()
    )


def report(api: RestApi) -> str:
    lines = [f"{len(api.methods)} methods on {len(api.resources)} resources, {len(api.models.by_name)} models"]
    for method in api.methods:
        timeout = method.integration.timeout / 1000 if method.integration else 0
        key = " and a usage plan's key" if method.api_key_required else ""
        lines.append(f"  {method.http_method:5} {method.path}: {method.authorization}{key}, {timeout:g} s")
    lines += [f"{RULES[name].outcome}: {name}, {count} times" for name, count in api.summary().items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", action="store_true", help="print the rules, each with its source and its test")
    if parser.parse_args().rules:
        print(rules())
        return 0
    from scripts.project.template import load, project_template

    template = project_template()
    path = template.api_definition()
    if path is None:
        print("The template has no API with a definition file.", file=sys.stderr)
        return 1
    try:
        print(report(import_rest_api(load(path), template.resolve)))
    except ImportRefused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
