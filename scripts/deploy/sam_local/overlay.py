"""Writes template.yaml and openapi.yaml for `sam local`: `python -m scripts.deploy.sam_local.overlay`.

Part of `make generate`. samconfig.toml points `sam local` to the result, local/template.yaml, which refers to the
output of `sam build`. Functions and the package are the folders that `sam deploy` uploads; bundle/recipe.py made the
layers of wheels for this machine's CPU. `--check` changes nothing, and fails if a file is out of date.

Functions, layers and routes are the same. The differences, with their reasons:

- A security requirement has one authorizer and no API key: SAM CLI refuses two. It checks no signature either, so
  /admin is open to every process that reaches it, which means this machine only.
- STREAM integrations become ordinary ones, and a small layer of ours, which answers in one piece, replaces AWS's Lambda
  Web Adapter. SAM CLI cannot stream, and AWS's layer cannot be had without a network.
- Every environment variable is a value: SAM CLI would make `!Ref UsageTable` into `UsageTable`. The names are those of
  the local stack, whose embedded AWS has these tables, buckets and queues.
- An edge precedes each function: see scripts/deploy/sam_local/layer/python/local_edge.py.
- Routes have only the parts that SAM CLI reads, since it validates no request.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bundle.recipe import LOCAL, REQUIREMENTS
from scripts.deploy.ministack.derive import ENDPOINTS
from scripts.dev.api_gateway.routes import named_function
from scripts.project.template import FUNCTION, LAYER, ROOT, Function, Template, load, of_type

TARGET = ROOT / "local/template.yaml"
SAMCONFIG = ROOT / "samconfig.toml"
BUILT = ROOT / ".aws-sam/build"
EDGE = "LocalEdgeLayer"
EDGE_FOLDER = ROOT / "scripts/deploy/sam_local/layer"
# The name of this machine in containers: `add_host` in samconfig.toml.
HOST = "awslocal"
AWS_PORT, MODELS_PORT = 4580, 4581
REGION = "us-east-1"
HEADER = "# What `sam local` runs, made by `make generate` from template.yaml and openapi.yaml; do not edit.\n"

BINARY = "application/vnd.amazon.eventstream"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"
RESPONSES = "x-amazon-apigateway-gateway-responses"
INVOCATION = (
    "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{}.Arn}}/invocations"
)
# Variables that only the real adapter reads.
OF_THE_ADAPTER = ("AWS_LWA_INVOKE_MODE",)

Json = dict[str, Any]


# --------------------------------------------------------------------------------------------------------- the spec
def derive_spec(spec: Json) -> Json:
    """The routes, each with its function and its authorizer."""
    schemes: Json = spec["components"]["securitySchemes"]
    asked = {name for name, scheme in schemes.items() if AUTHORIZER in scheme}
    paths: dict[str, Json] = {}
    for path, method, operation in operations(spec):
        if (function := named_function(operation.get(INTEGRATION, {}).get("uri"))) is None:
            continue
        # The operation's own only: API Gateway ignores the root's.
        kept: list[Json] = [{name: [] for name in said if name in asked} for said in operation.get("security", ())]
        paths.setdefault(path, {})[method] = {
            "operationId": operation["operationId"],
            "security": [requirement for requirement in kept if requirement],
            INTEGRATION: {"type": "aws_proxy", "httpMethod": "POST", "uri": plain(function)},
        }
    return {
        "openapi": spec["openapi"],
        "info": {name: spec["info"][name] for name in ("title", "version")},
        "paths": paths,
        "components": {"securitySchemes": {name: plain_scheme(schemes[name]) for name in sorted(asked)}},
        "x-amazon-apigateway-binary-media-types": [BINARY],
    }


def operations(spec: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in spec["paths"].items():
        for method, said in item.items():
            if isinstance(said, dict) and "responses" in said:
                yield path, method, said


def plain(function: str) -> Json:
    """The URI of an ordinary integration."""
    return {"Fn::Sub": INVOCATION.format(function)}


def plain_scheme(scheme: Json) -> Json:
    function = named_function(scheme[AUTHORIZER]["authorizerUri"])
    authorizer = scheme[AUTHORIZER] | {"authorizerUri": plain(str(function))}
    return {name: value for name, value in scheme.items() if name != "description"} | {AUTHORIZER: authorizer}


def integrated(spec: Json) -> set[str]:
    found = {named_function(operation.get(INTEGRATION, {}).get("uri")) for _, _, operation in operations(spec)}
    return {name for name in found if name}


def authorizing(spec: Json) -> set[str]:
    declared = (scheme.get(AUTHORIZER) for scheme in spec["components"]["securitySchemes"].values())
    found = {named_function(authorizer["authorizerUri"]) for authorizer in declared if authorizer}
    return {name for name in found if name}


def underscored(spec: Json) -> list[str]:
    """Headers that SAM CLI's server drops; sent with a hyphen they arrive, and the edge restores their names."""
    parameters = [parameter for _, _, operation in operations(spec) for parameter in operation.get("parameters", ())]
    return sorted({said["name"] for said in parameters if said.get("in") == "header" and "_" in said["name"]})


# ------------------------------------------------------------------------------------------------------ the template
def derive_template(source: Path, spec: Json) -> Json:
    """The template of the output of `sam build`, for this machine's containers."""
    template = Template(source, {"AWS_REGION": REGION}, f"http://{HOST}:{AWS_PORT}")
    layers = {
        source.parent / said["ContentUri"]: name
        for name, said in of_type({"Resources": template.resources}, LAYER).items()
    }
    own: Json = {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{AWS_PORT}",
        **dict.fromkeys(ENDPOINTS, f"http://{HOST}:{MODELS_PORT}"),
        "AWS_CONFIG_FILE": "/opt/aws_config",
        "LOCAL_HEADERS": " ".join(underscored(spec)),
        "LOCAL_UNAUTHORIZED": spec[RESPONSES]["UNAUTHORIZED"]["responseTemplates"]["application/json"],
    }
    resources: Json = {
        "Api": {
            "Type": "AWS::Serverless::Api",
            "Properties": {"StageName": template.stage(), "DefinitionBody": derive_spec(spec)},
        },
        **{name: {"Type": LAYER, "Properties": {"ContentUri": built(name, path)}} for path, name in layers.items()},
        EDGE: {"Type": LAYER, "Properties": {"ContentUri": f"../{EDGE_FOLDER.relative_to(ROOT)}"}},
    }
    authorizers = authorizing(spec)
    for name, function in template.functions().items():
        handler, variables = before(function, authorizer=name in authorizers)
        resources[name] = {
            "Type": FUNCTION,
            "Properties": {
                "CodeUri": f"../{BUILT.relative_to(ROOT)}/{name}",
                "Handler": handler,
                "Timeout": int(function.timeout),
                "MemorySize": function.memory,
                "Layers": [{"Ref": layer} for layer in [*(layers[path] for path in function.layers), EDGE]],
                "Environment": {"Variables": variables},
            },
        }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        # The layers' CPU: bundle/recipe.py writes it, samconfig.toml names the file.
        "Parameters": {"Machine": {"Type": "String", "Default": "x86_64", "AllowedValues": ["x86_64", "arm64"]}},
        "Globals": {
            "Function": {
                "Runtime": load(source)["Globals"]["Function"]["Runtime"],
                "Architectures": [{"Ref": "Machine"}],
                "Environment": {"Variables": own},
            }
        },
        "Resources": resources,
    }


def built(layer: str, source: Path) -> str:
    """The folder where `sam build` puts a layer: wheels are for one CPU, the package for any."""
    folder = LOCAL if (source / REQUIREMENTS).exists() else BUILT
    return f"../{(folder / layer).relative_to(ROOT)}"


def before(function: Function, *, authorizer: bool) -> tuple[str, Json]:
    """The handler that precedes a function's own, and the environment of both."""
    variables = {key: value for key, value in function.environment.items() if key not in OF_THE_ADAPTER}
    if function.serves_http:
        # The runtime's emulator listens on 8080.
        return function.handler, variables | {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/web_adapter", "AWS_LWA_PORT": "8090"}
    edge = "local_edge.authorizer" if authorizer else "local_edge.handler"
    return edge, variables | {"LOCAL_HANDLER": function.handler}


def mounted(template: Json, function: str, here: Path = TARGET.parent) -> tuple[list[Path], dict[str, str]]:
    """The import folders of a function of local/template.yaml, without the edge, and its code's environment."""
    properties = template["Resources"][function]["Properties"]
    layers = [template["Resources"][layer["Ref"]]["Properties"]["ContentUri"] for layer in properties["Layers"][:-1]]
    folders = [here / properties["CodeUri"], *(here / layer / "python" for layer in layers)]
    variables = template["Globals"]["Function"]["Environment"]["Variables"] | properties["Environment"]["Variables"]
    return folders, variables | {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": "/nonexistent"}


def overlay() -> str:
    template = derive_template(ROOT / "template.yaml", load(ROOT / "openapi.yaml"))
    # SAM CLI makes its process's YAML loader return ordered dictionaries, which a safe dump refuses.
    plain = json.loads(json.dumps(template))
    return HEADER + yaml.safe_dump(plain, sort_keys=False, width=160, allow_unicode=True)


# ------------------------------------------------------------------------------------------------------- samconfig.toml
def samconfig() -> str:
    """samconfig.toml with a cache per recipe: SAM's own cache key is the layer's folder, not the recipe."""
    recipe = hashlib.sha256(
        b"".join(path.read_bytes() for path in (ROOT / "bundle/Makefile", ROOT / "bundle/recipe.py"))
    )
    return re.sub(
        r'(?m)^cache_dir = ".*"$', f'cache_dir = ".aws-sam/cache/{recipe.hexdigest()[:12]}"', SAMCONFIG.read_text()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    check = parser.parse_args().check
    failed = 0
    for path, text in ((TARGET, overlay()), (SAMCONFIG, samconfig())):
        if path.exists() and path.read_text() == text:
            continue
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run `make generate`", file=sys.stderr)
            failed = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return failed


if __name__ == "__main__":
    sys.exit(main())
