"""Writes openapi.yaml as generators of clients want it: `python -m scripts.client_spec build/openapi.client.yaml`.

What is for API Gateway alone is left out. A client sends its key once, in either header: API Gateway is told of both,
because it throttles by the one that the authorizer answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FOR_AWS = "x-amazon-"
BEARER = {"type": "http", "scheme": "bearer", "description": "A tenant's key."}


def client_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = without_aws(spec)
    told["components"]["securitySchemes"]["TenantKey"] = BEARER
    told["security"] = [{scheme: []} for requirement in spec["security"] for scheme in requirement]
    return told


def without_aws(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: without_aws(inner) for name, inner in part.items() if not str(name).startswith(FOR_AWS)}
    if isinstance(part, list):
        return [without_aws(inner) for inner in part]
    return part


class Plain(yaml.SafeDumper):
    """YAML without anchors: not every generator reads them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    target: Path = parser.parse_args().target
    target.parent.mkdir(parents=True, exist_ok=True)
    spec = client_spec(yaml.safe_load((ROOT / "openapi.yaml").read_text()))
    target.write_text(yaml.dump(spec, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120))


if __name__ == "__main__":
    main()
