"""Runs ministack until standard input ends, when its parent has gone. Runs in .venv-embedded, not in .venv.

This module replaces functions of the pinned version where ministack differs from AWS; each replacement describes the
difference. Requests over loopback count as TLS, which policies require and ministack lacks. Schedules are checked every
second. A layer is unpacked once, not at every cold start, since the state machine's map starts 16 functions at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway_v1, athena, eventbridge, glue, lambda_svc, s3, scheduler
from ministack.services.cloudformation import changesets, handlers, provisioners, stacks

from scripts.dev.rest_api.importing import ImportRefused, import_rest_api

# The line of a traceback that names the exception: the last one after the indented lines of its frames.
RAISED = re.compile(r"^[ ].*\n([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


def naming_errors(execute: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Lambda names an error after its exception's class; ministack has one name for all.

    The state machine retries and catches by name, so without this it could not tell errors apart.
    """

    def executed(*arguments: Any, **more: Any) -> dict[str, Any]:
        result = execute(*arguments, **more)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            raised = RAISED.findall(result.get("log") or "")
            body["errorType"] = raised[-1].rpartition(".")[2] if raised else body["errorType"]
        return result

    return executed


usage_plan_key: ContextVar[str | None] = ContextVar("usage_plan_key", default=None)


def keeping_usage_plan_key(authorize: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """With `x-amazon-apigateway-api-key-source: AUTHORIZER` the authorizer names the usage plan's key.

    ministack supports the source HEADER only. Here the key in the authorizer's response counts, and each request calls
    the authorizer, since the spec turns its cache off.
    """

    async def authorized(*arguments: Any, **more: Any) -> Any:
        usage_plan_key.set(None)
        result = await authorize(*arguments, **more)
        body = result.get("body") if result else None
        if isinstance(body, dict):
            usage_plan_key.set(body.get("usageIdentifierKey"))
        return result

    return authorized


def joining_in_conditions(evaluate: Callable[..., dict[str, bool]]) -> Callable[..., dict[str, bool]]:
    """CloudFormation joins a list within a condition; ministack compares the unjoined list."""

    def joined(part: Any, given: dict[str, Any]) -> Any:
        if isinstance(part, dict) and "Fn::Join" in part:
            separator, items = part["Fn::Join"]
            if isinstance(items, dict):  # a Ref to a list of a parameter, which is one text here
                items = [item.strip() for item in str(given[items["Ref"]]["Value"]).split(",")]
            return separator.join(joined(item, given) for item in items)
        if isinstance(part, dict):
            return {name: joined(inner, given) for name, inner in part.items()}
        return [joined(inner, given) for inner in part] if isinstance(part, list) else part

    def evaluated(template: dict[str, Any], given: dict[str, Any]) -> dict[str, bool]:
        return evaluate({**template, "Conditions": joined(template.get("Conditions", {}), given)}, given)

    return evaluated


def importing_strictly(load: Callable[..., str]) -> Callable[..., str]:
    """A definition that API Gateway refuses fails the deployment; parts that it ignores are left out.

    ministack accepts every definition, applies the root's `security`, and omits gateway responses and ANY methods.
    """

    def imported(spec: dict[str, Any], *arguments: Any) -> str:
        api = import_rest_api(spec)
        print(f"imported {len(api.methods)} methods; met: {api.summary()}", flush=True)
        api_id = load(api.document, *arguments)
        for kind, response in api.gateway_responses.items():
            apigateway_v1._put_gateway_response(api_id, kind, response)
        resources = {resource["path"]: resource for resource in apigateway_v1._resources[api_id].values()}
        for method in api.methods:
            if method.http_method == "ANY":
                made: dict[str, Any] = {"httpMethod": "ANY", "authorizationType": method.authorization}
                made["apiKeyRequired"] = method.api_key_required
                mock = {"methodIntegration": {"type": method.integration.kind.upper()}} if method.integration else {}
                resources[method.path].setdefault("resourceMethods", {})["ANY"] = made | mock
        return api_id

    return imported


def importing_on_request(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """ImportRestApi, which fails on warnings if the request says so; ministack creates an empty API for it."""

    async def handled(method: str, path: str, headers: Any, body: Any, query: dict[str, Any]) -> Any:
        if method == "POST" and path.strip("/") == "restapis" and "import" in query.get("mode", ""):
            spec = json.loads(body)
            try:
                told = [str(it) for it in import_rest_api(spec).findings if it.rule.outcome == "warns"]
                if told and "true" in query.get("failonwarnings", ""):
                    return apigateway_v1._v1_error("BadRequestException", f"Warnings: {'; '.join(told)}", 400)
                return apigateway_v1._get_rest_api(apigateway_v1._import_rest_api(spec))
            except ImportRefused as refused:
                return apigateway_v1._v1_error("BadRequestException", str(refused), 400)
        return await handle(method, path, headers, body, query)

    return handled


def sending_nothing(send: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Send a function's response without a body (a 204); ministack fails on it."""

    async def sent(to: Any, status: int, headers: Any, body: Any, **more: Any) -> None:
        await send(to, status, headers, b"" if body is None else body, **more)

    return sent


def firing_as_its_role(invoke: Callable[..., None]) -> Callable[..., None]:
    """EventBridge Scheduler assumes the schedule's role, and writes the scheduled time into the input.

    ministack starts the target without a role, and passes the input on unchanged.
    """

    def invoked(target: dict[str, Any], event: dict[str, Any], schedule: dict[str, Any], view: Any = None) -> None:
        service = target.get("Arn", "").split(":")[2]
        if event.get("Source") != "aws.scheduler" or service not in {"states", "lambda"}:
            return invoke(target, event, schedule, view)
        at = re.fullmatch(r"at\((.+)\)", schedule["ScheduleExpression"])
        moment = at[1] if at else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:00}"
        said = target.get("Input", "{}").replace("<aws.scheduler.scheduled-time>", f"{moment}Z")
        taken = boto3.client("sts").assume_role(RoleArn=target["RoleArn"], RoleSessionName="schedule")["Credentials"]
        role = boto3.Session(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
        if service == "states":
            role.client("stepfunctions").start_execution(stateMachineArn=target["Arn"], input=said)
        else:
            role.client("lambda").invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=said)
        return None

    return invoked


def arming_again(update: Callable[..., Any]) -> Callable[..., Any]:
    """A schedule with a changed time counts from then; ministack remembers when the old one was due."""

    def updated(name: str, body: dict[str, Any]) -> Any:
        answer = update(name, body)
        for key in [key for key in scheduler._schedule_last_fired if key[-1].endswith(f"/{name}")]:
            del scheduler._schedule_last_fired[key]
        return answer

    return updated


def expanding_views(rewrite: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Athena reads a view through its statement in the catalogue; ministack supports tables only."""

    async def rewritten(query: str, database: str, catalog: Any = None) -> Any:
        while True:
            views = []
            for named in athena._table_references(query):
                table = glue._tables.get(f"{named.database or database}/{named.table}") or {}
                if table.get("TableType") == "VIRTUAL_VIEW":
                    kept = re.search(r"/\* Presto View: (\S+) \*/", table["ViewOriginalText"])
                    text = json.loads(base64.b64decode(kept[1]))["originalSql"] if kept else ""
                    alias = "" if named.aliased else f' AS "{named.table}"'
                    views.append((named.start, named.end, f"(\n{text}\n){alias}"))
            if not views:
                # DuckDB has Trino's function under another name; the formats used here are the same.
                return await rewrite(query.replace("date_format(", "strftime("), database, catalog)
            for start, end, text in sorted(views, reverse=True):
                query = query[:start] + text + query[end:]

    return rewritten


def of_empty_buckets(delete: Callable[..., None]) -> Callable[..., None]:
    """S3 refuses to delete a non-empty bucket, and the stack's deletion fails; ministack deletes the content too."""

    def deleted(physical_id: str, props: dict[str, Any]) -> None:
        if (s3._buckets.get(physical_id) or {}).get("objects"):
            raise ValueError(f"The bucket you tried to delete is not empty: {physical_id} (BucketNotEmpty)")
        delete(physical_id, props)

    return deleted


def with_leading_keys(context: Callable[[bytes], dict[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """`dynamodb:LeadingKeys`: the partition key of a request. ministack does not support the condition."""

    def told(body: bytes) -> dict[str, Any]:
        said = json.loads(body or b"{}")
        asked = re.match(r"\s*(\w+)\s*=\s*(:\w+)", said.get("KeyConditionExpression", ""))
        item = {asked[1]: said["ExpressionAttributeValues"][asked[2]]} if asked else said.get("Key") or said.get("Item")
        named = [item[name]["S"] for name in ("pk", "request_id", "id") if name in (item or {})]
        return {**context(body), **({"dynamodb:LeadingKeys": named} if named else {})}

    return told


def with_tls(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """The policies' condition keys, for a caller over TLS."""

    def resolved(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    return resolved


class UnpackedOnce(zipfile.ZipFile):
    """A zip file that is unpacked once; every target folder links to that copy."""

    KEPT = Path(tempfile.gettempdir()) / "unpacked"
    LOCK = threading.Lock()

    @property
    def kept(self) -> Path:
        told = "".join(f"{member.filename} {member.CRC} {member.file_size}\n" for member in self.infolist())
        return self.KEPT / hashlib.sha256(told.encode()).hexdigest()

    def namelist(self) -> list[str]:
        """The names to check before unpacking: none if they are unpacked already."""
        return [] if self.kept.exists() else super().namelist()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        with self.LOCK:
            if not self.kept.exists():
                fresh = self.kept.with_suffix(".fresh")
                super().extractall(fresh, members, pwd)
                fresh.rename(self.kept)
        for entry in self.kept.iterdir():
            (Path(path) / entry.name).symlink_to(entry)


def exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=exit_at_end_of_input, daemon=True).start()
    lambda_svc._execute_function_warm = naming_errors(lambda_svc._execute_function_warm)
    apigateway_v1._invoke_authorizer_lambda = keeping_usage_plan_key(apigateway_v1._invoke_authorizer_lambda)
    iam_evaluator._resolve_condition_key = with_tls(iam_evaluator._resolve_condition_key)
    apigateway_v1._api_key_from_request = lambda _headers: usage_plan_key.get()
    apigateway_v1._import_rest_api = importing_strictly(apigateway_v1._import_rest_api)
    apigateway_v1.handle_request = importing_on_request(apigateway_v1.handle_request)
    app._send_response = sending_nothing(app._send_response)
    eventbridge._invoke_target = firing_as_its_role(eventbridge._invoke_target)
    scheduler._update_schedule = arming_again(scheduler._update_schedule)
    scheduler._SCHEDULE_TICK_INTERVAL = 1
    athena._rewrite_data_paths = expanding_views(athena._rewrite_data_paths)
    iam_actions.dynamodb_service_context = with_leading_keys(iam_actions.dynamodb_service_context)
    buckets = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    buckets["delete"] = of_empty_buckets(buckets["delete"])
    for module in (changesets, handlers, stacks):
        module._evaluate_conditions = joining_in_conditions(module._evaluate_conditions)
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": UnpackedOnce})
    sys.exit(app.main())
