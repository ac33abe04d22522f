"""InvokeModel's text bodies: each provider's formats of requests, responses and streams.

A dialect reads a body into an Ask, writes a Generation into a body, and streams it as chunks. The last chunk of a
stream carries Bedrock's own count under `amazon-bedrock-invocationMetrics`.
"""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.dev.fake_models.converse import read_converse
from scripts.dev.fake_models.errors import invalid
from scripts.dev.fake_models.generation import Ask, Delta, Generation, Prompt, Stop, Tool
from scripts.dev.fake_models.ledger import Usage

Json = dict[str, Any]
METRICS = "amazon-bedrock-invocationMetrics"


@dataclass(frozen=True)
class Dialect:
    """One provider's request and response format."""

    read: Callable[[str, Json], Ask]
    write: Callable[[Ask, Generation], Json]
    chunks: Callable[[Ask, Generation], Iterator[Json]]


def invocation_metrics(ask: Ask, answer: Generation) -> Json:
    """Bedrock's count at the end of every invoke stream; with cache counts only if a cache was used."""
    metrics: Json = {}
    if not ask.directives.nocount:
        usage = answer.usage
        metrics = {"inputTokenCount": usage.input_tokens, "outputTokenCount": usage.output_tokens}
        if ask.prompt.cache_points or usage.cache_read_tokens or usage.cache_write_tokens:
            metrics["cacheReadInputTokenCount"] = usage.cache_read_tokens
            metrics["cacheWriteInputTokenCount"] = usage.cache_write_tokens
    return {METRICS: {**metrics, "invocationLatency": answer.latency_ms, "firstByteLatency": answer.first_byte_ms}}


# --- one prompt, one text -------------------------------------------------------------------------------------------


def _ask(
    model_id: str,
    text: Any,
    max_tokens: Any = None,
    stops: Any = (),
    temperature: Any = None,
    top_p: Any = None,
) -> Ask:
    if not isinstance(text, str) or not text:
        raise invalid("Malformed input request: expected minLength: 1, please reformat your input and try again.")
    prompt = Prompt()
    prompt.turn("user")
    prompt.say(text)
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1):
        raise invalid(
            f"Malformed input request: {max_tokens!r} is not a valid number of tokens, please reformat your input and "
            "try again."
        )
    return Ask(model_id, prompt, max_tokens, tuple(stops or ()), temperature, top_p)


def _need(body: Json, *keys: str) -> None:
    for key in keys:
        if key not in body:
            raise invalid(
                f"Malformed input request: #: required key [{key}] not found, please reformat your input and try again."
            )


def _counted(ask: Ask, counts: Json) -> Json:
    return {} if ask.directives.nocount else counts


def _texts(answer: Generation) -> Iterator[str]:
    return (delta.text for delta in answer if delta.kind == "text")


# Titan Text


def _read_titan(model_id: str, body: Json) -> Ask:
    _need(body, "inputText")
    config = body.get("textGenerationConfig") or {}
    return _ask(
        model_id,
        body["inputText"],
        config.get("maxTokenCount"),
        config.get("stopSequences"),
        config.get("temperature"),
        config.get("topP"),
    )


_TITAN_STOP: dict[Stop, str] = {
    "end": "FINISH",
    "length": "LENGTH",
    "stop_sequence": "STOP_CRITERIA_MET",
    "tool": "FINISH",
}


def _write_titan(ask: Ask, answer: Generation) -> Json:
    result: Json = _counted(ask, {"tokenCount": answer.usage.output_tokens})
    result.update(outputText=answer.text, completionReason=_TITAN_STOP[answer.stop])
    return {**_counted(ask, {"inputTextTokenCount": answer.usage.input_tokens}), "results": [result]}


def _chunk_titan(ask: Ask, answer: Generation) -> Iterator[Json]:
    chunk: Json = {"index": 0, "totalOutputTextTokenCount": None, "completionReason": None, "inputTextTokenCount": None}
    for index, text in enumerate(_texts(answer)):
        known = _counted(ask, {"inputTextTokenCount": answer.usage.input_tokens or None}) if index == 0 else {}
        yield {"outputText": text, **chunk, **known}
    counts = _counted(ask, {"totalOutputTextTokenCount": answer.usage.output_tokens})
    ended = {"completionReason": _TITAN_STOP[answer.stop], **counts, **invocation_metrics(ask, answer)}
    yield {"outputText": "", **chunk, **ended}


# Claude 2 and Claude Instant (text completions)


def _read_claude_text(model_id: str, body: Json) -> Ask:
    if "messages" in body:
        ask = _read_claude(model_id, body)
        ask.chatty = True
        return ask
    _need(body, "prompt", "max_tokens_to_sample")
    if not str(body["prompt"]).startswith("\n\nHuman:"):
        raise invalid('Invalid prompt: prompt must start with "\n\nHuman:" turn after an optional system prompt')
    if "\n\nAssistant:" not in body["prompt"]:
        raise invalid('Invalid prompt: prompt must end with "\n\nAssistant:" turn')
    return _ask(
        model_id,
        body["prompt"],
        body["max_tokens_to_sample"],
        body.get("stop_sequences"),
        body.get("temperature"),
        body.get("top_p"),
    )


def _claude_text_stop(answer: Generation) -> Json:
    if answer.stop == "length":
        return {"stop_reason": "max_tokens", "stop": None}
    return {"stop_reason": "stop_sequence", "stop": answer.stop_sequence or "\n\nHuman:"}


def _write_claude_text(ask: Ask, answer: Generation) -> Json:
    return {"type": "completion", "completion": answer.text, **_claude_text_stop(answer)}


def _chunk_claude_text(ask: Ask, answer: Generation) -> Iterator[Json]:
    for text in _texts(answer):
        yield {"type": "completion", "completion": text, "stop_reason": None, "stop": None}
    yield {"type": "completion", "completion": "", **_claude_text_stop(answer), **invocation_metrics(ask, answer)}


# Jurassic-2


def _read_j2(model_id: str, body: Json) -> Ask:
    _need(body, "prompt")
    return _ask(
        model_id,
        body["prompt"],
        body.get("maxTokens"),
        body.get("stopSequences"),
        body.get("temperature"),
        body.get("topP"),
    )


def _write_j2(ask: Ask, answer: Generation) -> Json:
    def tokens(count: int) -> list[Json]:
        blank = {"token": "▁", "logprob": -0.1, "raw_logprob": -0.1}
        return [{"generatedToken": blank, "topTokens": None, "textRange": {"start": 0, "end": 1}}] * count

    usage = answer.usage
    reason: Json = {"length": {"reason": "length", "length": usage.output_tokens}}.get(
        answer.stop, {"reason": "endoftext"}
    )
    data = {"text": answer.text, **_counted(ask, {"tokens": tokens(usage.output_tokens)})}
    return {
        "id": 1234,
        "prompt": {"text": ask.prompt.text, **_counted(ask, {"tokens": tokens(usage.input_tokens)})},
        "completions": [{"data": data, "finishReason": reason}],
    }


def _chunk_none(ask: Ask, answer: Generation) -> Iterator[Json]:
    raise invalid("The model is unsupported for streaming.")


# Cohere Command and Command R


def _read_command(model_id: str, body: Json) -> Ask:
    _need(body, "prompt")
    return _ask(
        model_id,
        body["prompt"],
        body.get("max_tokens"),
        body.get("stop_sequences"),
        body.get("temperature"),
        body.get("p"),
    )


_COHERE_STOP: dict[Stop, str] = {
    "end": "COMPLETE",
    "length": "MAX_TOKENS",
    "stop_sequence": "COMPLETE",
    "tool": "COMPLETE",
}


def _write_command(ask: Ask, answer: Generation) -> Json:
    generation = {"id": str(uuid.uuid4()), "text": answer.text, "finish_reason": _COHERE_STOP[answer.stop]}
    return {"id": str(uuid.uuid4()), "generations": [generation], "prompt": ask.prompt.text}


def _chunk_command(ask: Ask, answer: Generation) -> Iterator[Json]:
    for text in _texts(answer):
        yield {"text": text, "is_finished": False, "index": 0}
    ended = {"is_finished": True, "finish_reason": _COHERE_STOP[answer.stop], "index": 0}
    yield {**ended, **invocation_metrics(ask, answer)}


def _read_command_r(model_id: str, body: Json) -> Ask:
    _need(body, "message")
    ask = _ask(
        model_id,
        body["message"],
        body.get("max_tokens"),
        body.get("stop_sequences"),
        body.get("temperature"),
        body.get("p"),
    )
    history = body.get("chat_history") or []
    if not history and not body.get("preamble"):
        return ask
    prompt = Prompt()
    if body.get("preamble"):
        prompt.turn("system")
        prompt.say(body["preamble"])
    for turn in history:
        prompt.turn("assistant" if turn.get("role") == "CHATBOT" else "user")
        prompt.say(turn.get("message", ""))
    prompt.turn("user")
    prompt.say(body["message"])
    return Ask(model_id, prompt, ask.max_tokens, ask.stop_sequences, ask.temperature, ask.top_p)


def _write_command_r(ask: Ask, answer: Generation) -> Json:
    said = ask.prompt.parts[-1].content
    return {
        "response_id": f"{uuid.uuid4()}",
        "text": answer.text,
        "generation_id": str(uuid.uuid4()),
        "chat_history": [{"role": "USER", "message": said}, {"role": "CHATBOT", "message": answer.text}],
        "finish_reason": _COHERE_STOP[answer.stop],
    }


def _chunk_command_r(ask: Ask, answer: Generation) -> Iterator[Json]:
    yield {"is_finished": False, "event_type": "stream-start", "generation_id": str(uuid.uuid4())}
    for text in _texts(answer):
        yield {"is_finished": False, "event_type": "text-generation", "text": text}
    ended = {"is_finished": True, "event_type": "stream-end", "finish_reason": _COHERE_STOP[answer.stop]}
    yield {**ended, "response": _write_command_r(ask, answer), **invocation_metrics(ask, answer)}


# Llama


def _read_llama(model_id: str, body: Json) -> Ask:
    _need(body, "prompt")
    ask = _ask(model_id, body["prompt"], body.get("max_gen_len"), (), body.get("temperature"), body.get("top_p"))
    for image in body.get("images") or ():
        ask.prompt.show(image)
    return ask


_SHORT_STOP: dict[Stop, str] = {"end": "stop", "length": "length", "stop_sequence": "stop", "tool": "tool_calls"}


def _write_llama(ask: Ask, answer: Generation) -> Json:
    counts = {
        "prompt_token_count": answer.usage.input_tokens,
        "generation_token_count": answer.usage.output_tokens,
    }
    return {"generation": answer.text, **_counted(ask, counts), "stop_reason": _SHORT_STOP[answer.stop]}


def _chunk_llama(ask: Ask, answer: Generation) -> Iterator[Json]:
    for index, text in enumerate(_texts(answer), 1):
        known = answer.usage.input_tokens or None if index == 1 else None
        counts = _counted(ask, {"prompt_token_count": known, "generation_token_count": index})
        yield {"generation": text, **counts, "stop_reason": None}
    counts = _counted(ask, {"prompt_token_count": None, "generation_token_count": answer.usage.output_tokens})
    ended = {"generation": "", **counts, "stop_reason": _SHORT_STOP[answer.stop]}
    yield {**ended, **invocation_metrics(ask, answer)}


# Mistral: a prompt, or chat messages


def _read_mistral(model_id: str, body: Json) -> Ask:
    if "messages" in body:
        return _read_chat(model_id, body)
    _need(body, "prompt")
    return _ask(
        model_id,
        body["prompt"],
        body.get("max_tokens"),
        body.get("stop"),
        body.get("temperature"),
        body.get("top_p"),
    )


def _write_mistral(ask: Ask, answer: Generation) -> Json:
    if ask.chatty:
        return _write_chat(ask, answer)
    return {"outputs": [{"text": answer.text, "stop_reason": _SHORT_STOP[answer.stop]}]}


def _chunk_mistral(ask: Ask, answer: Generation) -> Iterator[Json]:
    if ask.chatty:
        yield from _chunk_chat(ask, answer)
        return
    for text in _texts(answer):
        yield {"outputs": [{"text": text, "stop_reason": None}]}
    yield {"outputs": [{"text": "", "stop_reason": _SHORT_STOP[answer.stop]}], **invocation_metrics(ask, answer)}


# --- chat messages in OpenAI's shape: Jamba, Mistral, DeepSeek, gpt-oss, Qwen, imported models ------------------------


def _read_chat(model_id: str, body: Json) -> Ask:
    _need(body, "messages")
    prompt = Prompt()
    tools = tuple(_declare_functions(body, prompt))
    if not body["messages"]:
        raise invalid(
            "Malformed input request: #/messages: expected minItems: 1, please reformat your input and try again."
        )
    for message in body["messages"]:
        if message.get("role") == "tool":
            prompt.tool_result(message.get("tool_call_id", ""))
        else:
            prompt.turn(message.get("role", "user"))
        content = message.get("content")
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
            if part.get("type") == "image_url":
                url = part["image_url"]
                prompt.show(url["url"] if isinstance(url, dict) else url)
            elif part.get("text"):
                prompt.say(part["text"])
        for call in message.get("tool_calls") or ():
            function = call.get("function", {})
            prompt.call_tool(
                call.get("id", ""), function.get("name", ""), json.loads(function.get("arguments") or "{}")
            )
    stop = body.get("stop") or ()
    ask = Ask(
        model_id,
        prompt,
        body.get("max_completion_tokens") or body.get("max_tokens"),
        (stop,) if isinstance(stop, str) else tuple(stop),
        body.get("temperature"),
        body.get("top_p"),
        tools,
    )
    ask.chatty = True
    return ask


def _declare_functions(body: Json, prompt: Prompt) -> Iterator[Tool]:
    for tool in body.get("tools") or ():
        prompt.declare(tool)
        function = tool.get("function", {})
        yield Tool(function.get("name", ""), function.get("parameters", {}), function.get("description", ""))


def chat_usage(usage: Usage) -> Json:
    """OpenAI's usage: prompt tokens include the cached ones."""
    prompt_tokens = usage.total_tokens - usage.output_tokens
    counts: Json = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cache_read_tokens:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    return counts


def _tool_calls(answer: Generation) -> list[Json]:
    function = {"name": answer.tool, "arguments": json.dumps(answer.tool_input)}
    return [{"id": f"call_{uuid.uuid4().hex[:9]}", "type": "function", "function": function}]


def _write_chat(ask: Ask, answer: Generation) -> Json:
    message: Json = {"role": "assistant", "content": answer.text}
    if answer.tool:
        message["tool_calls"] = _tool_calls(answer)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": 1735689600,
        "model": ask.model_id,
        "choices": [{"index": 0, "message": message, "finish_reason": _SHORT_STOP[answer.stop]}],
        **_counted(ask, {"usage": chat_usage(answer.usage)}),
    }


def _chunk_chat(ask: Ask, answer: Generation) -> Iterator[Json]:
    head: Json = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": 1735689600,
        "model": ask.model_id,
    }
    delta: Json = {"role": "assistant", "content": ""}
    yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    for text in _texts(answer):
        yield {**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    delta = {"tool_calls": _tool_calls(answer)} if answer.tool else {}
    yield {
        **head,
        "choices": [{"index": 0, "delta": delta, "finish_reason": _SHORT_STOP[answer.stop]}],
        **_counted(ask, {"usage": chat_usage(answer.usage)}),
        **invocation_metrics(ask, answer),
    }


# --- Claude Messages --------------------------------------------------------------------------------------------------

_CLAUDE_STOP: dict[Stop, str] = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
}


def _read_claude(model_id: str, body: Json) -> Ask:
    for key in ("anthropic_version", "max_tokens", "messages"):
        if key not in body:
            raise invalid(f"{key}: Field required")
    if not body["messages"]:
        raise invalid("messages: at least one message is required")
    prompt = Prompt()
    tools = []
    for tool in body.get("tools") or ():
        prompt.declare({key: value for key, value in tool.items() if key != "cache_control"})
        tools.append(Tool(tool.get("name", ""), tool.get("input_schema", {}), tool.get("description", "")))
        _claude_cache_point(tool, prompt)
    if system := body.get("system"):
        prompt.turn("system")
        for block in [{"type": "text", "text": system}] if isinstance(system, str) else system:
            _read_claude_block(block, "system", prompt)
    for index, message in enumerate(body["messages"]):
        if message.get("role") not in ("user", "assistant", "system"):
            raise invalid(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        if index == 0 and message["role"] == "assistant":
            raise invalid('messages: first message must use the "user" role')
        prompt.turn(message["role"])
        content = message.get("content")
        if not content:
            raise invalid(f"messages.{index}: all messages must have non-empty content")
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            _read_claude_block(block, f"messages.{index}", prompt)
    choice = body.get("tool_choice") or {}
    forced = choice.get("name") or (tools[0].name if choice.get("type") == "any" and tools else None)
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise invalid("max_tokens: Input should be greater than or equal to 1")
    return Ask(
        model_id,
        prompt,
        body["max_tokens"],
        tuple(body.get("stop_sequences") or ()),
        body.get("temperature"),
        body.get("top_p"),
        tuple(tools),
        forced,
        ((body.get("output_config") or {}).get("format") or body.get("output_format") or {}).get("schema"),
        may_use_tools=choice.get("type") != "none",
    )


def _read_claude_block(block: Json, where: str, prompt: Prompt) -> None:
    match block.get("type"):
        case "text":
            if not block.get("text"):
                raise invalid(f"{where}: text content blocks must be non-empty")
            prompt.say(block["text"])
        case "image":
            source = block.get("source") or {}
            prompt.show(source.get("data") or source.get("url") or "", source.get("media_type", "image/png"))
        case "document":
            source = block.get("source") or {}
            data = source.get("data") or ""
            prompt.attach(data, len(data) if source.get("type") == "text" else len(base64.b64decode(data)))
        case "tool_use":
            prompt.call_tool(str(block.get("id")), str(block.get("name")), block.get("input"))
        case "tool_result":
            content = block.get("content") or []
            prompt.tool_result(str(block.get("tool_use_id")))
            for inner in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                _read_claude_block(inner, where, prompt)
            prompt.turn("user")
        case "thinking" | "redacted_thinking" | "search_result" | "server_tool_use":
            prompt.declare({key: value for key, value in block.items() if key != "cache_control"})
        case kind:
            raise invalid(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    _claude_cache_point(block, prompt)


def _claude_cache_point(block: Json, prompt: Prompt) -> None:
    if control := block.get("cache_control"):
        prompt.cache_point("1h" if control.get("ttl") == "1h" else "5m")


def _claude_usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
    }


def _claude_message(ask: Ask) -> Json:
    _, _, name = ask.model_id.rpartition("anthropic.")
    return {
        "id": f"msg_bdrk_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": name.split("-v1:")[0].split("-v2:")[0],
    }


def _write_claude(ask: Ask, answer: Generation) -> Json:
    content: list[Json] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": "c2lnbmVk"})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    if answer.tool:
        content.append({**_claude_tool_use(answer), "input": answer.tool_input})
    usage = {**_claude_usage(answer.usage), "output_tokens": answer.usage.output_tokens}
    return {
        **_claude_message(ask),
        "content": content,
        "stop_reason": _CLAUDE_STOP[answer.stop],
        "stop_sequence": answer.stop_sequence,
        **_counted(ask, {"usage": usage}),
    }


def _claude_tool_use(answer: Generation) -> Json:
    return {"type": "tool_use", "id": f"toolu_bdrk_{uuid.uuid4().hex[:20]}", "name": answer.tool}


_CLAUDE_DELTA = {
    "text": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


def _chunk_claude(ask: Ask, answer: Generation) -> Iterator[Json]:
    started: Json = {**_claude_message(ask), "content": [], "stop_reason": None, "stop_sequence": None}
    # Claude reports one output token here; message_delta has the whole count.
    started.update(_counted(ask, {"usage": {**_claude_usage(answer.usage), "output_tokens": 1}}))
    yield {"type": "message_start", "message": started}
    kind, index = "", -1
    for delta in answer:
        if delta.kind != kind:
            yield from _close_claude_block(kind, index)
            kind, index = delta.kind, index + 1
            yield {"type": "content_block_start", "index": index, "content_block": _empty_claude_block(delta, answer)}
        delta_type, key = _CLAUDE_DELTA[kind]
        yield {"type": "content_block_delta", "index": index, "delta": {"type": delta_type, key: delta.text}}
    yield from _close_claude_block(kind, index)
    stopped = {"stop_reason": _CLAUDE_STOP[answer.stop], "stop_sequence": answer.stop_sequence}
    usage = {**_claude_usage(answer.usage), "output_tokens": answer.usage.output_tokens}
    yield {"type": "message_delta", "delta": stopped, **_counted(ask, {"usage": usage})}
    yield {"type": "message_stop", **invocation_metrics(ask, answer)}


def _empty_claude_block(delta: Delta, answer: Generation) -> Json:
    if delta.kind == "tool":
        return {**_claude_tool_use(answer), "input": {}}
    if delta.kind == "reasoning":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _close_claude_block(kind: str, index: int) -> Iterator[Json]:
    if kind == "reasoning":
        signed = {"type": "signature_delta", "signature": "c2lnbmVk"}
        yield {"type": "content_block_delta", "index": index, "delta": signed}
    if kind:
        yield {"type": "content_block_stop", "index": index}


# --- Nova (messages-v1) -----------------------------------------------------------------------------------------------


def _read_nova(model_id: str, body: Json) -> Ask:
    """Nova's request resembles Converse's, with older names for the inference parameters."""
    _need(body, "messages")
    config = dict(body.get("inferenceConfig") or {})
    for old, new in (("max_new_tokens", "maxTokens"), ("top_p", "topP")):
        if old in config:
            config[new] = config[old]
    return read_converse(model_id, {**body, "inferenceConfig": config})


def _nova_usage(usage: Usage) -> Json:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokenCount": usage.cache_read_tokens,
        "cacheWriteInputTokenCount": usage.cache_write_tokens,
    }


def _nova_tool_use(answer: Generation) -> Json:
    return {"toolUseId": str(uuid.uuid4()), "name": answer.tool}


def _write_nova(ask: Ask, answer: Generation) -> Json:
    content: list[Json] = [{"text": answer.text}] if answer.text else []
    if answer.tool:
        content.append({"toolUse": {**_nova_tool_use(answer), "input": answer.tool_input}})
    return {
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": _CLAUDE_STOP[answer.stop],
        **_counted(ask, {"usage": _nova_usage(answer.usage)}),
    }


def _chunk_nova(ask: Ask, answer: Generation) -> Iterator[Json]:
    yield {"messageStart": {"role": "assistant"}}
    index = -1
    for index, delta in enumerate(answer):
        # Nova closes the block after every delta and increments its index, so one answer has many blocks.
        said: Json = {"text": delta.text}
        if delta.kind == "tool":
            said = {"toolUse": {"input": delta.text}}
            if index == 0 or answer.deltas[index - 1].kind != "tool":
                start = {"start": {"toolUse": _nova_tool_use(answer)}, "contentBlockIndex": index}
                yield {"contentBlockStart": start}
        yield {"contentBlockDelta": {"delta": said, "contentBlockIndex": index}}
        yield {"contentBlockStop": {"contentBlockIndex": index}}
    yield {"messageStop": {"stopReason": _CLAUDE_STOP[answer.stop]}}
    metadata: Json = {**_counted(ask, {"usage": _nova_usage(answer.usage)}), "metrics": {}, "trace": {}}
    yield {"metadata": metadata, **invocation_metrics(ask, answer)}


TEXT_DIALECTS: Mapping[str, Dialect] = {
    "titan-text": Dialect(_read_titan, _write_titan, _chunk_titan),
    "claude-text": Dialect(
        _read_claude_text,
        lambda ask, answer: (_write_claude if ask.chatty else _write_claude_text)(ask, answer),
        lambda ask, answer: (_chunk_claude if ask.chatty else _chunk_claude_text)(ask, answer),
    ),
    "claude": Dialect(_read_claude, _write_claude, _chunk_claude),
    "j2": Dialect(_read_j2, _write_j2, _chunk_none),
    "command": Dialect(_read_command, _write_command, _chunk_command),
    "command-r": Dialect(_read_command_r, _write_command_r, _chunk_command_r),
    "llama": Dialect(_read_llama, _write_llama, _chunk_llama),
    "mistral": Dialect(_read_mistral, _write_mistral, _chunk_mistral),
    "chat": Dialect(_read_chat, _write_chat, _chunk_chat),
    "nova": Dialect(_read_nova, _write_nova, _chunk_nova),
}
