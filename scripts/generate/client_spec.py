"""Writes openapi.yaml in the form that client generators need: `python -m scripts.generate.client_spec FILE`.

It leaves out everything that only API Gateway reads, and adds the types of a value, which API Gateway's models cannot
express. A client sends its key once, in either header. openapi.yaml declares both, because API Gateway throttles by the
key that the authorizer returns.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.project import quick_yaml

ROOT = Path(__file__).parents[2]
FOR_AWS = "x-amazon-"
# The types of a property that has several; `?` is null. openapi.yaml describes them in words.
TYPES = {
    "BudgetLine.scope": "string|object",
    "ChatAnswer.content": "string?",
    "ChatChunkChoice.finish_reason": "string?",
    "ChatCompletion.service_tier": "string?",
    "ChatCompletion.system_fingerprint": "string?",
    "ChatCompletionChunk.usage": "ChatUsage?",
    "ChatCompletionRequest.stop": "string|[string]",
    "ChatCompletionRequest.tool_choice": "string|object",
    "ChatDelta.content": "string?",
    "ChatMessage.content": "string|[object]?",
    "CountMessageTokensRequest.system": "string|[object]",
    "Embedding.embedding": "[number]|string",
    "EmbeddingsRequest.input": "string|[string]",
    "ErrorBody.param": "string?",
    "InvokeModelRequest.inputs": "string|[string]|[object]|object",
    "InvokeModelResult.generated_text": "string|[object]",
    "Message.stop_sequence": "string?",
    "MessageEvent.message": "object|string",
    "MessageParam.content": "string|[object]",
    "MessagesRequest.system": "string|[object]",
    "ModelList.first_id": "string?",
    "ModelList.last_id": "string?",
    "ModelResponse.error": "object?",
    "ModelResponse.incomplete_details": "object?",
    "ModelResponse.usage": "ResponseUsage?",
    "ResponseRequest.input": "string|[object]",
    "ResponseRequest.tool_choice": "string|object",
    "ScimUser.active": "boolean|string",
    "StreamedUsage.cost": "string?",
}
# Headers that mean true for `true` in any case, and false for any other text: a generated client has these two words. The
# contract itself accepts any text, because old callers send other values.
FLAGS = ("messages_api", "streaming")
BEARER = {"type": "http", "scheme": "bearer", "description": "A tenant's key."}


def client_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = without_aws(spec)
    told["paths"] = {path: item for path, item in told["paths"].items() if item}
    told["components"]["securitySchemes"]["TenantKey"] = BEARER
    schemas = told["components"]["schemas"]
    for where, types in TYPES.items():
        schema, _, name = where.partition(".")
        schemas[schema]["properties"][name] |= typed(types)
    for item in told["paths"].values():
        for operation in item.values():
            operation["security"] = [{scheme: []} for requirement in operation["security"] for scheme in requirement]
            for parameter in operation.get("parameters", ()):
                if parameter.get("name") in FLAGS:
                    parameter["schema"] = {"type": "string", "enum": ["true", "false"]}
    return told


def without_aws(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: without_aws(inner) for name, inner in part.items() if not str(name).startswith(FOR_AWS)}
    if isinstance(part, list):
        return [without_aws(inner) for inner in part]
    return part


def typed(types: str) -> dict[str, Any]:
    """A schema of any of the types, in OpenAPI 3.0."""
    any_of = [_one(name) for name in types.removesuffix("?").split("|")]
    one: dict[str, Any] = any_of[0] if len(any_of) == 1 else {"anyOf": any_of}
    if not types.endswith("?"):
        return one
    return {"nullable": True, **({"allOf": [one]} if "$ref" in one else one)}


def _one(name: str) -> dict[str, Any]:
    if name.startswith("["):
        return {"type": "array", "items": _one(name.strip("[]"))}
    if name == "object":
        return {"type": "object", "additionalProperties": True}
    return {"type": name} if name.islower() else {"$ref": f"#/components/schemas/{name}"}


class Plain(yaml.SafeDumper):
    """YAML without anchors, because not every generator reads them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    spec = client_spec(quick_yaml.read((ROOT / "openapi.yaml").read_text()))
    target.write_text(yaml.dump(spec, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    write(parser.parse_args().target)


if __name__ == "__main__":
    main()
