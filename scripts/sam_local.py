"""template.yaml and openapi.yaml as `sam local` can serve them: `python -m scripts.sam_local build|serve`.

    build   part of `make build`: writes .aws-sam/local/template.yaml and builds it; samconfig.toml points there
    serve   the embedded AWS, the models' stand-in and the queue's worker for the containers: `make sam-local`

Same functions, same layers, same spec. What differs, and why:

- one authorizer in a requirement, no API key beside it: SAM CLI refuses two. It checks no signature either, so /admin
  is open to whoever reaches it, which is this machine only.
- STREAM integrations become ordinary ones, and the Lambda Web Adapter, AWS's own layer, a small one of ours that
  answers in one piece: SAM CLI cannot stream, and without a network there is no layer of AWS's.
- every environment variable is a value: SAM CLI would make `!Ref UsageTable` into `UsageTable`. Names are those of the
  local stack, whose embedded AWS has these tables, buckets and queues.
- an edge before each function of the API: see scripts/sam_local_layer/python/local_edge.py.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import sam
from scripts.dev.routes import named_function
from scripts.dev.stack import LocalStack, StackError
from scripts.dev.template import Template, load_yaml
from scripts.embedded.derive import ENDPOINTS, adapt
from scripts.events import job_table, seed
from scripts.template import FUNCTION, LAYER, ROOT, load

WORK = ROOT / ".aws-sam/local"
TEMPLATE = WORK / "template.yaml"
BUILT = WORK / "build"
EDGE = "LocalEdgeLayer"
EDGE_FOLDER = ROOT / "scripts/sam_local_layer"
# What containers call this machine: samconfig.toml has it in `add_host`.
HOST = "awslocal"
AWS_PORT, MODELS_PORT = 4580, 4581
REGION = "us-east-1"
LOOPBACK = "127.0.0.1"
DATA = ROOT / ".dev/sam-local"

BINARY = "application/vnd.amazon.eventstream"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"
RESPONSES = "x-amazon-apigateway-gateway-responses"
INVOCATION = (
    "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{}.Arn}}/invocations"
)
# What only the real adapter reads.
OF_THE_ADAPTER = ("AWS_LWA_INVOKE_MODE",)

Json = dict[str, Any]


# --------------------------------------------------------------------------------------------------------- the spec
def derive_spec(spec: Json) -> Json:
    """The spec without what SAM CLI refuses or drops."""
    derived = copy.deepcopy(spec)
    schemes: Json = derived["components"]["securitySchemes"]
    asked = {name for name, scheme in schemes.items() if AUTHORIZER in scheme}
    for scheme in schemes.values():
        if AUTHORIZER in scheme:
            scheme[AUTHORIZER]["authorizerUri"] = plain(scheme[AUTHORIZER]["authorizerUri"])
    derived["components"]["securitySchemes"] = {name: schemes[name] for name in sorted(asked)}
    derived.pop("security", None)  # SAM CLI would apply it, and API Gateway does not
    for operation in operations(derived):
        kept: list[Json] = [{name: [] for name in said if name in asked} for said in operation.get("security", ())]
        operation["security"] = [requirement for requirement in kept if requirement]
        integration = operation.get(INTEGRATION, {})
        if "uri" in integration:
            integration["uri"] = plain(integration["uri"])
        integration.pop("responseTransferMode", None)
        integration.pop("timeoutInMillis", None)
    derived["x-amazon-apigateway-binary-media-types"] = [BINARY]
    return derived


def operations(spec: Json) -> Iterator[Json]:
    for item in spec["paths"].values():
        yield from (said for said in item.values() if isinstance(said, dict) and "responses" in said)


def plain(uri: Any) -> Json:
    """An ordinary integration with the same function."""
    return {"Fn::Sub": INVOCATION.format(named_function(uri))}


def integrated(spec: Json) -> set[str]:
    found = {named_function(operation.get(INTEGRATION, {}).get("uri")) for operation in operations(spec)}
    return {name for name in found if name}


def authorizing(spec: Json) -> set[str]:
    declared = (scheme.get(AUTHORIZER) for scheme in spec["components"]["securitySchemes"].values())
    found = {named_function(authorizer["authorizerUri"]) for authorizer in declared if authorizer}
    return {name for name in found if name}


def underscored(spec: Json) -> list[str]:
    """Headers that SAM CLI's server drops; sent with a hyphen they arrive, and the edge names them right."""
    parameters = [parameter for operation in operations(spec) for parameter in operation.get("parameters", ())]
    return sorted({said["name"] for said in parameters if said.get("in") == "header" and "_" in said["name"]})


# ------------------------------------------------------------------------------------------------------ the template
def derive_template(source: Path, spec: Json, target: Path, environment: Mapping[str, str] = os.environ) -> Json:
    """The template for this machine's containers, beside a derived spec."""
    template = load(source)
    resolved = Template(source, {**environment, "AWS_REGION": REGION}, f"http://{HOST}:{AWS_PORT}").functions()
    adapt(template, source, target)
    own: Json = {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{AWS_PORT}",
        **dict.fromkeys(ENDPOINTS, f"http://{HOST}:{MODELS_PORT}"),
        "AWS_CONFIG_FILE": "/opt/aws_config",
        "LOCAL_HEADERS": " ".join(underscored(spec)),
        "LOCAL_UNAUTHORIZED": spec[RESPONSES]["UNAUTHORIZED"]["responseTemplates"]["application/json"],
    }
    shared = template["Globals"]["Function"]
    shared["Environment"] = {"Variables": own}
    shared["Layers"] = [*shared.get("Layers", ()), {"Ref": EDGE}]
    authorizers, behind = authorizing(spec), integrated(spec)
    for name, resource in template["Resources"].items():
        said = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Api":
            said["DefinitionBody"]["Fn::Transform"]["Parameters"]["Location"] = "openapi.json"
        if resource["Type"] != FUNCTION or name not in resolved:
            continue
        variables = {key: value for key, value in resolved[name].environment.items() if key not in OF_THE_ADAPTER}
        if resolved[name].serves_http:
            said["Layers"] = [layer for layer in said.get("Layers", ()) if is_own(layer, template)]
            # On 8080 listens the runtime's emulator.
            variables |= {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/web_adapter", "AWS_LWA_PORT": "8090"}
        elif name in authorizers | behind:
            variables["LOCAL_HANDLER"] = said.get("Handler", shared["Handler"])
            said["Handler"] = "local_edge.authorizer" if name in authorizers else "local_edge.handler"
        said["Environment"] = {"Variables": variables}
        # The spec alone says which routes there are.
        said["Events"] = {key: event for key, event in said.get("Events", {}).items() if event["Type"] != "Api"}
    template["Resources"][EDGE] = {
        "Type": LAYER,
        "Properties": {"ContentUri": os.path.relpath(EDGE_FOLDER, target.parent)},
    }
    return template


def is_own(layer: Any, template: Json) -> bool:
    return isinstance(layer, dict) and template["Resources"].get(layer.get("Ref"), {}).get("Type") == LAYER


def write(target: Path = TEMPLATE) -> None:
    spec = load_yaml(ROOT / "openapi.yaml")
    template = derive_template(ROOT / "template.yaml", spec, target)
    (target.parent / "openapi.json").write_text(json.dumps(derive_spec(spec), indent=1))
    target.write_text(json.dumps(template, indent=1))  # JSON is YAML


def build() -> int:
    """`sam build` of the derived template, for the CPU of this machine."""
    write()
    folders = ["--build-dir", str(BUILT), "--cache-dir", str(WORK / "cache")]
    return sam.run("build", "--template", str(TEMPLATE), *folders, "--cached", "--parallel")


# ------------------------------------------------------------------------------------------------- what they talk to
def bridge() -> str:
    """Where containers reach this machine: the address of Docker's bridge; with Docker Desktop the machine's own."""
    if sys.platform != "linux":
        return LOOPBACK
    with socket.socket() as probe:
        try:
            asked = struct.pack("256s", b"docker0")
            return socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, asked)[20:24])  # SIOCGIFADDR
        except OSError:
            return LOOPBACK


def backing() -> dict[str, str]:
    """The environment for a local stack that the containers reach."""
    return {
        "GATEWAY_DEV_HOST": bridge(),
        "GATEWAY_DEV_AWS_PORT": str(AWS_PORT),
        "GATEWAY_DEV_MODELS_PORT": str(MODELS_PORT),
        "AWS_REGION": REGION,
    }


@contextmanager
def backing_stack(data: Path, **environment: str) -> Iterator[LocalStack]:
    """A local stack without an API, with what the events of events/ speak of."""
    with LocalStack(data, port=None, environment=backing() | environment) as stack:
        os.environ |= {"AWS_ENDPOINT_URL": stack.aws_endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        tables, buckets = stack.info["tables"], stack.info["buckets"]
        queue = stack.info["queues"]["JobsQueue"]
        jobs = job_table(tables["ResultsTable"], tables["UsageTable"], queue, buckets["PayloadsBucket"])
        seed(tables["TenantsTable"], jobs)
        yield stack


def serve() -> int:
    """Keep it until a signal."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    if sys.platform == "linux" and bridge() == LOOPBACK:
        print("docker0 is not there: start Docker first, or containers will not reach what runs here", file=sys.stderr)
    try:
        with backing_stack(DATA) as stack:
            print(f"ready: an AWS at {stack.aws_endpoint}, models at {stack.model_stand_in_url}")
            print("  now, elsewhere: sam local start-api  (or .venv/bin/python -m scripts.sam local start-api)")
            key = stack.tenants[0]["key"]
            print(f"  then: curl -s -H 'x-api-key: {key}' http://127.0.0.1:3000/list_foundation_models", flush=True)
            over.wait()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main() -> int:
    match sys.argv[1:]:
        case ["build"]:
            return build()
        case ["serve"]:
            return serve()
        case _:
            print("usage: python -m scripts.sam_local build|serve", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
