"""The operations of sagemaker-runtime: an endpoint in the format of a text or an embedding container."""

import json
from collections.abc import Iterator
from typing import Any

from scripts.dev.fake_models.calls import Call, Throttle
from scripts.dev.fake_models.dialects import TEXT_DIALECTS
from scripts.dev.fake_models.directives import read_directives
from scripts.dev.fake_models.errors import SAGEMAKER, Refusal
from scripts.dev.fake_models.eventstream import blob_event
from scripts.dev.fake_models.exchange import Exchange, refuse
from scripts.dev.fake_models.generation import Ask, Generation, Model, Prompt
from scripts.dev.fake_models.ledger import Ledger, Usage
from scripts.dev.fake_models.vectors import vector

_OPERATIONS = {
    "invocations": "InvokeEndpoint",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}
_TEXT_KEYS = ("inputs", "text_inputs", "prompt", "inputText", "text", "input")
_EMBEDDING_SIZE = 384


class SageMaker:
    """Answers calls to endpoints. Every name exists except those with `missing`; names with `embed` embed."""

    def __init__(self, ledger: Ledger, model: Model) -> None:
        self._ledger = ledger
        self._model = model
        self._throttle = Throttle()

    def answer(self, exchange: Exchange, endpoint: str, path: str) -> None:
        """Answer one call to an endpoint."""
        if path not in _OPERATIONS:
            refuse(exchange, Refusal(404, "UnknownOperationException", f"No operation at {exchange.path}"))
            return
        call = Call(exchange, self._ledger, _OPERATIONS[path], endpoint)
        component = exchange.headers.get("x-amzn-sagemaker-inference-component")
        call.served.inference_component = component
        try:
            _check_exists(endpoint, component or "")
            body = _body(exchange)
            if "embed" in endpoint:
                self._embed(call, body)
            else:
                self._say(call, endpoint, body)
        except Refusal as refusal:
            call.refuse(refusal)

    def _embed(self, call: Call, body: dict[str, Any]) -> None:
        inputs = _inputs(body)
        texts = inputs if isinstance(inputs, list) else [inputs]
        prompt = _prompt([str(text) for text in texts])
        call.obey(read_directives(prompt.text), self._throttle, SAGEMAKER)
        vectors = [vector(str(text), _EMBEDDING_SIZE) for text in texts]
        answer = {"embedding": vectors if isinstance(inputs, list) else vectors[0]}
        call.answer(json.dumps(answer).encode(), _headers(call), Usage(input_tokens=prompt.tokens))

    def _say(self, call: Call, endpoint: str, body: dict[str, Any]) -> None:
        if "messages" in body:
            ask = TEXT_DIALECTS["chat"].read(endpoint, body)
        else:
            inputs = _inputs(body)
            parameters = body.get("parameters") or body
            ask = Ask(
                endpoint,
                _prompt([str(text) for text in inputs] if isinstance(inputs, list) else [str(inputs)]),
                parameters.get("max_new_tokens") or parameters.get("max_tokens"),
                tuple(parameters.get("stop") or ()),
                parameters.get("temperature"),
                parameters.get("top_p"),
            )
        call.obey(ask.directives, self._throttle, SAGEMAKER)
        streaming = call.served.operation == "InvokeEndpointWithResponseStream"
        call.served.input_images = ask.prompt.images
        answer = self._model.generate(ask, Usage(input_tokens=ask.prompt.tokens), streaming)
        if streaming:
            headers = {
                "Content-Type": "application/vnd.amazon.eventstream",
                "X-Amzn-SageMaker-Content-Type": "application/jsonlines",
                "x-Amzn-Invoked-Production-Variant": "AllTraffic",
            }
            lines = _chat_lines(ask, answer) if ask.chatty else _token_lines(ask, answer)
            call.stream(_parts(lines), answer, headers, ask.directives)
            return
        answer.finish()
        response: Any = [{"generated_text": answer.text}]
        if ask.chatty:
            response = TEXT_DIALECTS["chat"].write(ask, answer)
        call.answer(json.dumps(response).encode(), _headers(call), answer.usage, cut=ask.directives.cut is not None)


def _check_exists(endpoint: str, component: str) -> None:
    if "missing" in endpoint or "missing" in component:
        raise Refusal(400, "ValidationError", f"Endpoint {endpoint} of account 123456789012 not found.")


def _parts(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines as payload parts. SageMaker splits at its buffer's end, not at a line's: here every third is split."""
    for index, line in enumerate(lines):
        middle = len(line) // 2 if index % 3 == 1 else len(line)
        yield blob_event("PayloadPart", line[:middle])
        if middle < len(line):
            yield blob_event("PayloadPart", line[middle:])


def _token_lines(ask: Ask, answer: Generation) -> Iterator[bytes]:
    for index, delta in enumerate(answer):
        yield _line({"token": {"id": index, "text": delta.text, "log_prob": -0.1}})
    reason = {"length": "length", "stop_sequence": "stop_sequence"}.get(answer.stop, "eos_token")
    details: dict[str, Any] = {"finish_reason": reason}
    if not ask.directives.nocount:
        details |= {"generated_tokens": answer.usage.output_tokens, "input_length": answer.usage.input_tokens}
    last = {"id": 2, "text": "", "log_prob": 0.0}
    yield _line({"token": last, "generated_text": answer.text, "details": details})


def _chat_lines(ask: Ask, answer: Generation) -> Iterator[bytes]:
    for chunk in TEXT_DIALECTS["chat"].chunks(ask, answer):
        chunk.pop("amazon-bedrock-invocationMetrics", None)
        yield _line(chunk)


def _line(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode() + b"\n"


def _body(exchange: Exchange) -> dict[str, Any]:
    try:
        body = exchange.json()
    except ValueError:
        raise Refusal(424, "ModelError", "Received client error (400) from primary: the body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal(424, "ModelError", "Received client error (400) from primary: expected a JSON object.")
    return body


def _inputs(body: dict[str, Any]) -> Any:
    for key in _TEXT_KEYS:
        if body.get(key):
            return body[key]
    raise Refusal(424, "ModelError", "Received client error (422) from primary: `inputs` is required.")


def _prompt(texts: list[str]) -> Prompt:
    prompt = Prompt()
    prompt.turn("user")
    for text in texts:
        prompt.say(text)
    return prompt


def _headers(call: Call) -> dict[str, str]:
    return {"Content-Type": "application/json", "x-Amzn-Invoked-Production-Variant": "AllTraffic"}
