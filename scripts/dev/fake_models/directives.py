"""Directives to the stand-in in a prompt: [[throttle]], [[delay=0.2]], [[tokens_out=7]] …

error    [[throttle]] [[denied]] [[notfound]] [[invalid]] [[quota]] [[timeout]] [[modelerror]] [[notready]]
         [[internal]] [[unavailable]] [[notenabled]] (no agreement) [[noform]] (Anthropic's use case);
         [[throttle_times=N:id]] throttles the first N calls that name `id`
time     [[delay=S]] before the answer, [[chunk_delay=S]] before each delta of a stream
answer   [[tokens_out=N]] [[chunks=N]] [[reasoning]] or [[reasoning=N]] (tokens) [[tool=name]]
counts   [[nocount]] hides every count, [[usage={"input_tokens": 1, …}]] overrides them (names as in the ledger),
         [[whole=N]] counts the whole body, unpacked and by character; a body above N tokens is refused as too long
break    [[cut=N]] after N stream events (a buffered answer is cut before its first byte),
         [[streamerror=N]] and [[streamthrottle=N]] send an error event after N events
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from scripts.dev.fake_models.errors import BEDROCK, invalid

_DIRECTIVE = re.compile(r"\[\[([a-z_]+)(?:=(\{.*?\}|[^\[\]]*))?\]\]", re.S)
_DEFAULT_REASONING_TOKENS = 12


@dataclass(frozen=True)
class Directives:
    """The directives of one prompt; the last of several equal ones counts."""

    error: str | None = None
    throttle_times: tuple[int, str] | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    tokens_out: int | None = None
    chunks: int | None = None
    reasoning: int = 0
    tool: str | None = None
    nocount: bool = False
    usage: tuple[tuple[str, int], ...] = ()
    whole: int | None = None
    cut: int | None = None
    stream_error: tuple[int, str] | None = None


_NONE = Directives()


def read_directives(text: str) -> Directives:
    """Find the directives in a prompt. A malformed one is refused, so that no test passes because of a typo."""
    if "[[" not in text:
        return _NONE
    found: dict[str, Any] = {}
    for name, value in _DIRECTIVE.findall(text):
        try:
            found.update(_read(name, value))
        except (ValueError, AttributeError) as error:
            raise invalid(f"[[{name}={value}]] is not a directive of the model stand-in: {error}") from error
    return Directives(**found)


def _read(name: str, value: str) -> dict[str, Any]:
    if name in BEDROCK:
        return {"error": name}
    match name:
        case "delay" | "chunk_delay":
            return {name: float(value)}
        case "tokens_out" | "chunks" | "cut" | "whole":
            return {name: int(value)}
        case "tool":
            return {name: value}
        case "nocount":
            return {name: True}
        case "reasoning":
            return {name: int(value) if value else _DEFAULT_REASONING_TOKENS}
        case "usage":
            return {name: tuple((key, int(count)) for key, count in json.loads(value).items())}
        case "throttle_times":
            times, _, label = value.partition(":")
            return {name: (int(times), label)}
        case "streamerror":
            return {"stream_error": (int(value), "modelStreamErrorException")}
        case "streamthrottle":
            return {"stream_error": (int(value), "throttlingException")}
    return {}  # Two brackets can be ordinary text.
