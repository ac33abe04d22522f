"""The operations of bedrock-runtime: Converse, InvokeModel, their streams, and CountTokens."""

import base64
import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from scripts.dev.fake_models.calls import Call, Throttle
from scripts.dev.fake_models.catalog import FoundationModel, find_model
from scripts.dev.fake_models.converse import read_converse, stream_converse, tier_of, write_converse
from scripts.dev.fake_models.dialects import TEXT_DIALECTS
from scripts.dev.fake_models.directives import Directives, read_directives
from scripts.dev.fake_models.errors import BEDROCK, Refusal, invalid
from scripts.dev.fake_models.eventstream import json_event
from scripts.dev.fake_models.exchange import Exchange, refuse
from scripts.dev.fake_models.generation import Ask, Generation, Model
from scripts.dev.fake_models.guess import guess_dialect
from scripts.dev.fake_models.ledger import Ledger, Usage
from scripts.dev.fake_models.pictures import read_picture, write_picture
from scripts.dev.fake_models.prompt_cache import PromptCache
from scripts.dev.fake_models.reading import count_whole
from scripts.dev.fake_models.validation.claude import check_claude
from scripts.dev.fake_models.validation.converse import check_converse
from scripts.dev.fake_models.vectors import read_embedding, write_embedding

P = ParamSpec("P")
T = TypeVar("T")
_OPERATIONS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
    "count-tokens": "CountTokens",
}
_IMAGE_DIALECTS = ("titan-image", "sdxl", "sd3")
_JSON = {"Content-Type": "application/json"}
_STREAM = {"Content-Type": "application/vnd.amazon.eventstream"}
_ECHOED = ("X-Amzn-Bedrock-Service-Tier", "X-Amzn-Bedrock-PerformanceConfig-Latency")


class Bedrock:
    """Answers model calls, and counts each call once."""

    def __init__(self, ledger: Ledger, model: Model) -> None:
        self._ledger = ledger
        self._model = model
        self._cache = PromptCache()
        self._throttle = Throttle()

    def answer(self, exchange: Exchange, model_id: str, path: str) -> None:
        """Answer one model call."""
        if path not in _OPERATIONS:
            refuse(exchange, Refusal(404, "UnknownOperationException", f"No operation at {exchange.path}"))
            return
        call = Call(exchange, self._ledger, _OPERATIONS[path], model_id)
        try:
            body = _body(exchange)
            _must_name_no_project(exchange, body)
            model = find_model(model_id)
            match path:
                case "converse" | "converse-stream":
                    self._converse(call, model, body)
                case "count-tokens":
                    self._count_tokens(call, model, body)
                case _:
                    self._invoke(call, model, body)
        except Refusal as refusal:
            call.refuse(refusal)

    def _converse(self, call: Call, model: FoundationModel | None, body: dict[str, Any]) -> None:
        if model and not model.converses:
            raise invalid(
                "This action doesn't support the model that you provided. Try again with a supported text model."
            )
        streaming = call.served.operation == "ConverseStream"
        if streaming and model and not model.streams:
            raise invalid("The model is unsupported for streaming.")
        call.served.request_metadata = body.get("requestMetadata")
        call.served.service_tier = tier_of(body) or "default"
        if guardrail := body.get("guardrailConfig"):
            call.served.guardrail = f"{guardrail.get('guardrailIdentifier')}:{guardrail.get('guardrailVersion')}"
        ask = _reading(read_converse, call.served.model_id, body)
        check_converse(call.served.model_id, body, streaming=streaming)
        answer = self._generate(call, ask, streaming)
        caches = bool(model and model.caches)
        if streaming:
            call.stream(stream_converse(body, ask, answer, caches), answer, _STREAM, ask.directives)
            return
        response = write_converse(body, ask, answer.finish(), caches)
        call.answer(json.dumps(response).encode(), _JSON, answer.usage, cut=ask.directives.cut is not None)

    def _invoke(self, call: Call, model: FoundationModel | None, body: dict[str, Any]) -> None:
        exchange = call.exchange
        if metadata := exchange.headers.get("x-amzn-bedrock-request-metadata"):
            call.served.request_metadata = _json(metadata)
        call.served.service_tier = exchange.headers.get("x-amzn-bedrock-service-tier", "default")
        if guardrail := exchange.headers.get("x-amzn-bedrock-guardrailidentifier"):
            call.served.guardrail = f"{guardrail}:{exchange.headers.get('x-amzn-bedrock-guardrailversion')}"
        dialect = model.dialect if model else guess_dialect(call.served.model_id, body)
        streaming = call.served.operation == "InvokeModelWithResponseStream"
        if streaming and (dialect not in TEXT_DIALECTS or (model and not model.streams)):
            raise invalid("The model is unsupported for streaming.")
        if dialect in _IMAGE_DIALECTS:
            self._paint(call, dialect, body)
        elif dialect in TEXT_DIALECTS:
            self._invoke_text(call, dialect, body, streaming)
        else:
            self._embed(call, dialect, body)

    def _invoke_text(self, call: Call, name: str, body: dict[str, Any], streaming: bool) -> None:
        dialect = TEXT_DIALECTS[name]
        ask = _reading(dialect.read, call.served.model_id, body)
        if name == "claude":
            _reading(check_claude, call.served.model_id, body)
        answer = self._generate(call, ask, streaming)
        if streaming:
            events = (_chunk(part) for part in dialect.chunks(ask, answer))
            headers = {**_STREAM, "X-Amzn-Bedrock-Content-Type": "application/json", **_echo(call)}
            call.stream(events, answer, headers, ask.directives)
            return
        response = json.dumps(dialect.write(ask, answer.finish())).encode()
        headers = {**_JSON, **_latency(call), **_echo(call)}
        if not ask.directives.nocount:
            headers.update(_token_headers(ask, answer.usage))
        call.answer(response, headers, answer.usage, cut=ask.directives.cut is not None)

    def _generate(self, call: Call, ask: Ask, streaming: bool) -> Generation:
        call.served.input_images = ask.prompt.images
        call.obey(ask.directives, self._throttle, BEDROCK)
        whole = _whole(call, ask.directives)
        return self._model.generate(ask, whole or self._cache.split(ask.model_id, ask.prompt), streaming)

    def _embed(self, call: Call, dialect: str, body: dict[str, Any]) -> None:
        request = _reading(read_embedding, dialect, call.served.model_id, body)
        directives = read_directives(request.prompt)
        call.served.input_images = len(request.images)
        call.obey(directives, self._throttle, BEDROCK)
        usage = _overridden(_whole(call, directives) or Usage(input_tokens=request.tokens), directives)
        counted = None if directives.nocount else usage.input_tokens
        headers = {**_JSON, **_latency(call), **_echo(call)}
        if counted is not None:
            headers["X-Amzn-Bedrock-Input-Token-Count"] = str(counted)
        response = json.dumps(write_embedding(dialect, request, counted)).encode()
        call.answer(response, headers, usage, cut=directives.cut is not None)

    def _paint(self, call: Call, dialect: str, body: dict[str, Any]) -> None:
        painting = _reading(read_picture, dialect, body)
        directives = read_directives(painting.prompt)
        call.served.input_images = painting.input_images
        call.obey(directives, self._throttle, BEDROCK)
        call.served.images, call.served.image_class = painting.count, painting.image_class
        headers = {**_JSON, **_latency(call), **_echo(call)}
        usage = Usage()
        if dialect != "titan-image":
            # Images are billed per image: Titan and Nova Canvas send no token count, Stability sends the prompt's.
            usage = _overridden(Usage(input_tokens=painting.tokens), directives)
            if not directives.nocount:
                headers["X-Amzn-Bedrock-Input-Token-Count"] = str(usage.input_tokens)
        response = json.dumps(write_picture(dialect, painting)).encode()
        call.answer(response, headers, usage, cut=directives.cut is not None)

    def _count_tokens(self, call: Call, model: FoundationModel | None, body: dict[str, Any]) -> None:
        asked = body.get("input") or {}
        if "converse" in asked:
            ask = _reading(read_converse, call.served.model_id, asked["converse"])
        elif "invokeModel" in asked:
            inner = _json(base64.b64decode(asked["invokeModel"].get("body", "")))
            dialect = model.dialect if model else guess_dialect(call.served.model_id, inner)
            if dialect not in TEXT_DIALECTS:
                raise invalid("The provided model doesn't support counting tokens.")
            ask = _reading(TEXT_DIALECTS[dialect].read, call.served.model_id, inner)
        else:
            raise invalid("The input field must set one of the following keys: invokeModel, converse.")
        call.obey(ask.directives, self._throttle, BEDROCK)
        call.served.input_tokens = ask.prompt.tokens
        call.uncounted({"inputTokens": ask.prompt.tokens})


def _must_name_no_project(exchange: Exchange, body: dict[str, Any]) -> None:
    """Refuse a project: the gateway sets none, so one here was a client's, and its payer may be another."""
    by_header = any(name.lower().startswith("x-amzn-bedrock-project") for name in exchange.headers)
    if by_header or "projectIdentifier" in body:
        raise Refusal(403, "AccessDeniedException", "The gateway let a project of its client pass.")


def _body(exchange: Exchange) -> dict[str, Any]:
    return _json(exchange.body)


def _json(data: bytes | str) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        raise invalid("Malformed input request, please reformat your input and try again.") from None
    if not isinstance(body, dict):
        raise invalid("Malformed input request: expected type: JSONObject, please reformat your input and try again.")
    return body


def _reading(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read a body; a value of a wrong type is the caller's error, as on AWS, not an error of the stand-in."""
    try:
        return read(*args, **kwargs)
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise invalid(f"Malformed input request: {error}, please reformat your input and try again.") from error


def _whole(call: Call, directives: Directives) -> Usage | None:
    """The usage of a call with [[whole=N]], which counts the whole body; a body above N tokens is refused."""
    if directives.whole is None:
        return None
    tokens = count_whole(_body(call.exchange))
    if tokens > directives.whole:
        raise invalid("Input is too long for requested model.")
    return Usage(input_tokens=tokens)


def _overridden(usage: Usage, directives: Directives) -> Usage:
    for name, count in directives.usage:
        setattr(usage, name, count)
    return usage


def _latency(call: Call) -> dict[str, str]:
    return {"X-Amzn-Bedrock-Invocation-Latency": str(call.latency_ms)}


def _echo(call: Call) -> dict[str, str]:
    headers = call.exchange.headers
    return {name: headers[name.lower()] for name in _ECHOED if name.lower() in headers}


def _token_headers(ask: Ask, usage: Usage) -> dict[str, str]:
    counts = {
        "X-Amzn-Bedrock-Input-Token-Count": usage.input_tokens,
        "X-Amzn-Bedrock-Output-Token-Count": usage.output_tokens,
    }
    if ask.prompt.cache_points or usage.cache_read_tokens or usage.cache_write_tokens:
        counts["X-Amzn-Bedrock-Cache-Read-Input-Token-Count"] = usage.cache_read_tokens
        counts["X-Amzn-Bedrock-Cache-Write-Input-Token-Count"] = usage.cache_write_tokens
    return {name: str(count) for name, count in counts.items()}


def _chunk(part: dict[str, Any]) -> bytes:
    data = json.dumps(part, separators=(",", ":")).encode()
    return json_event("chunk", {"bytes": base64.b64encode(data).decode()})
