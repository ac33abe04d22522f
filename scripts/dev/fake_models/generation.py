"""One call's request and answer, independent of any wire format; every format reads and writes it."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

from scripts.dev.fake_models.directives import Directives, read_directives
from scripts.dev.fake_models.ledger import Usage
from scripts.dev.fake_models.tokens import (
    BYTES_PER_TOKEN,
    IMAGE_TOKENS,
    count_bytes,
    count_tokens,
    fingerprint,
    words,
)

Ttl = Literal["5m", "1h"]
Kind = Literal["reasoning", "text", "tool"]
Stop = Literal["end", "length", "stop_sequence", "tool"]
_USUAL_DELTAS = 5
_NO_LIMIT = 1 << 30
_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_QUOTED = re.compile(r"(?<!\w)['\"]([^'\"]+)['\"](?!\w)")
_THINKING = "Thinking about the question. "


class Part(NamedTuple):
    """A piece of a prompt: its identity (for the prompt cache) and its number of tokens."""

    content: str
    tokens: int


class Prompt:
    """A call's input in order, with its cache points."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.cache_points: list[tuple[int, Ttl]] = []
        self.images = 0
        self.chat: list[dict[str, Any]] = []  # The same prompt as OpenAI messages, for an upstream.

    def turn(self, role: str) -> None:
        """Begin another message."""
        self.chat.append({"role": role, "content": []})

    def say(self, text: str) -> None:
        """Add text to the current message."""
        self.parts.append(Part(text, count_tokens(text)))
        self.chat[-1]["content"].append({"type": "text", "text": text})

    def show(self, image: str, media_type: str = "image/png") -> None:
        """Add an image (base64) to the current message."""
        self.parts.append(Part(image, IMAGE_TOKENS))
        self.images += 1
        url = image if image.startswith("data:") else f"data:{media_type};base64,{image}"
        self.chat[-1]["content"].append({"type": "image_url", "image_url": {"url": url}})

    def attach(self, document: str, size: int, text: str | None = None) -> None:
        """Add `size` bytes of a document to the current message; `text` is the part that an upstream can read."""
        self.parts.append(Part(document, count_bytes(size)))
        if text is not None:
            self.chat[-1]["content"].append({"type": "text", "text": text})

    def call_tool(self, identifier: str, name: str, arguments: Any) -> None:
        """Add a tool call that the model made in an earlier turn."""
        self.declare({"name": name, "input": arguments})
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": identifier, "type": "function", "function": function}
        self.chat[-1].setdefault("tool_calls", []).append(call)

    def tool_result(self, identifier: str) -> None:
        """Begin a tool's result; the next `turn` ends it."""
        self.chat.append({"role": "tool", "tool_call_id": identifier, "content": []})

    def declare(self, definition: Any) -> None:
        """Add input that counts but is no message: a tool's definition, a tool call of an earlier turn."""
        text = json.dumps(definition, sort_keys=True)
        self.parts.append(Part(text, count_tokens(text)))

    def cache_point(self, ttl: Ttl = "5m") -> None:
        """Set a cache point after the input so far."""
        self.cache_points.append((len(self.parts), ttl))

    @property
    def tokens(self) -> int:
        return sum(part.tokens for part in self.parts)

    @property
    def text(self) -> str:
        return "\n".join(part.content for part in self.parts)

    @property
    def question(self) -> str:
        """The user's last message; empty if a tool's result came last."""
        last = next((turn for turn in reversed(self.chat) if turn["content"]), None)
        if last is None or last["role"] != "user":
            return ""
        return "\n".join(part["text"] for part in last["content"] if part["type"] == "text")


@dataclass(frozen=True)
class Tool:
    """A function the model may ask for."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass
class Ask:
    """One call to a text model, in any wire format."""

    model_id: str
    prompt: Prompt
    max_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    tools: tuple[Tool, ...] = ()
    must_use_tool: str | None = None
    form: Mapping[str, Any] | None = None  # The JSON schema that the answer must match.
    may_use_tools: bool = True
    chatty: bool = False  # In messages, if the same model also accepts a prompt.
    directives: Directives = field(default_factory=Directives)

    def __post_init__(self) -> None:
        self.directives = read_directives(self.prompt.text)


class Delta(NamedTuple):
    """A piece of an answer."""

    kind: Kind
    text: str


class Generation:
    """An answer in progress. `usage` and `stop` are final when `done`; the deterministic model knows them earlier."""

    def __init__(self, said: Iterator[Delta], usage: Usage, stop: Stop = "end", tool: str | None = None) -> None:
        self._said = said
        self.usage = usage
        self.stop: Stop = stop
        self.stop_sequence: str | None = None
        self.tool = tool
        self.done = False
        self.deltas: list[Delta] = []
        self.hurry = False
        self.started = time.monotonic()
        self.first_delta_at: float | None = None

    def say(self, said: Iterator[Delta]) -> None:
        """Set the source of the deltas, which may itself change `usage` and `stop` along the way."""
        self._said = said

    def __iter__(self) -> Iterator[Delta]:
        for delta in self._said:
            if self.first_delta_at is None:
                self.first_delta_at = time.monotonic()
            self.deltas.append(delta)
            yield delta
        self.done = True

    def finish(self) -> "Generation":
        """Complete the answer without pauses, whether or not the client still listens."""
        self.hurry = True
        for _ in self:
            pass
        return self

    def heard(self, kind: Kind) -> str:
        return "".join(delta.text for delta in self.deltas if delta.kind == kind)

    @property
    def text(self) -> str:
        return self.heard("text")

    @property
    def reasoning(self) -> str:
        return self.heard("reasoning")

    @property
    def tool_input(self) -> Any:
        return json.loads(self.heard("tool") or "{}")

    @property
    def usage_so_far(self) -> Usage:
        """The usage of a broken answer: all of the input, and the generated part of the output."""
        if self.done:
            return self.usage
        kinds: tuple[Kind, ...] = ("reasoning", "text", "tool")
        said = sum(count_tokens(heard) for kind in kinds if (heard := self.heard(kind)))
        return replace(self.usage, output_tokens=min(said, self.usage.output_tokens or said))

    @property
    def latency_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    @property
    def first_byte_ms(self) -> int:
        return int(((self.first_delta_at or time.monotonic()) - self.started) * 1000)


class Model(Protocol):
    """A source of answers: the stand-in's own deterministic model, or a real one behind it."""

    def generate(self, ask: Ask, usage: Usage, stream: bool) -> Generation:
        """Begin an answer; `usage` holds the input as the stand-in counts it."""


class DeterministicModel:
    """The same question always gets the same answer, of the requested length and never above the limit."""

    def generate(self, ask: Ask, usage: Usage, stream: bool) -> Generation:
        """Plan the whole answer (reasoning, text, a tool call), then produce it delta by delta."""
        wish = ask.directives
        limit = ask.max_tokens or _NO_LIMIT
        reasoning = max(0, min(wish.reasoning, min(limit, wish.tokens_out or limit) - 1))
        tool = self._tool(ask)
        arguments = _sample(tool.schema, ask.prompt) if tool else ""
        spent = reasoning + (count_tokens(arguments) if tool else 0)
        if spent > limit:
            tool, arguments, spent = None, "", reasoning
        opening = (
            f"{ask.model_id} answers {fingerprint(ask.model_id + ask.prompt.text)} after {ask.prompt.tokens} tokens. "
        )
        wanted = self._text_tokens(ask, opening, spent, tool)
        text = words(opening, min(wanted, limit - spent))
        if ask.form is not None and not tool and wish.tokens_out is None:
            formed = _sample(ask.form, ask.prompt)
            wanted = count_tokens(formed)
            text = formed[: (limit - spent) * BYTES_PER_TOKEN]
        stop: Stop = "length" if wanted > limit - spent else "tool" if tool else "end"
        stop_sequence = None
        for sequence in filter(None, ask.stop_sequences):
            if sequence in text:
                text, stop, stop_sequence = text[: text.index(sequence)], "stop_sequence", sequence
        if stop != "tool":
            tool, arguments = None, ""

        deltas = [Delta("reasoning", words(_THINKING, reasoning))] if reasoning else []
        deltas += [Delta("text", piece) for piece in _pieces(text, wish.chunks) if text]
        deltas += [Delta("tool", piece) for piece in _pieces(arguments, 2) if tool]
        said = reasoning + sum(count_tokens(piece) for piece in (text, arguments) if piece)
        counted = replace(usage, output_tokens=said)
        if wish.usage:
            counted = Usage(**{**asdict(counted), **dict(wish.usage)})
        generation = Generation(iter(()), counted, stop, tool.name if tool else None)
        generation.stop_sequence = stop_sequence
        generation.say(_say(deltas, wish.chunk_delay, generation))
        return generation

    @staticmethod
    def _text_tokens(ask: Ask, opening: str, spent: int, tool: Tool | None) -> int:
        wish = ask.directives
        if wish.tokens_out is not None:
            return max(0, wish.tokens_out - spent)
        if tool:
            return 0
        return max(count_tokens(opening) + int(fingerprint(opening)[:2], 16) % 16, wish.chunks or 0)

    @staticmethod
    def _tool(ask: Ask) -> Tool | None:
        """The tool that the prompt or the call names; else one whose subject is in the user's question."""
        if not ask.may_use_tools:
            return None
        if wanted := ask.directives.tool or ask.must_use_tool:
            return next((tool for tool in ask.tools if tool.name == wanted), None)
        asked = set(_WORD.findall(ask.prompt.question.lower()))
        return next((tool for tool in ask.tools if _subject(tool.name) and _subject(tool.name) <= asked), None)


def _say(deltas: list[Delta], pause: float, generation: Generation) -> Iterator[Delta]:
    for delta in deltas:
        if pause and not generation.hurry:
            time.sleep(pause)
        yield delta


def _pieces(text: str, count: int | None) -> Iterator[str]:
    """Cut a text into exactly `count` pieces (some empty when it is shorter)."""
    if count is None:
        count = max(1, min(_USUAL_DELTAS, len(text) // 8))
    for index in range(count):
        yield text[len(text) * index // count : len(text) * (index + 1) // count]


def _subject(tool: str) -> set[str]:
    """A tool's subject, from its name: `get_weather` is about the weather."""
    return set(_WORD.findall(tool.lower())[1:])


def _sample(schema: Mapping[str, Any], prompt: Prompt) -> str:
    """Minimal JSON for a schema, with the question's numbers and quoted words if they fit."""
    numbers = iter(map(int, _NUMBER.findall(prompt.question)))
    quoted = iter(_QUOTED.findall(prompt.question))
    defined: Mapping[str, Any] = {**schema.get("definitions", {}), **schema.get("$defs", {})}

    def sample(part: Mapping[str, Any]) -> Any:
        part = defined.get(str(part.get("$ref", "")).rpartition("/")[2], part)
        for choices in ("anyOf", "oneOf", "allOf"):
            if part.get(choices):
                return sample(part[choices][0])
        if "const" in part or part.get("enum"):
            return part["const"] if "const" in part else part["enum"][0]
        match part.get("type"):
            case "object":
                return {name: sample(inner) for name, inner in part.get("properties", {}).items()}
            case "array":
                return [sample(part["items"])] * part["minItems"] if part.get("minItems") else []
            case "integer":
                return next(numbers, 1)
            case "number":
                return next(numbers, 1.5)
            case "boolean":
                return True
            case "null":
                return None
        return next(quoted, None) or fingerprint(prompt.text)

    return json.dumps(sample({"type": "object", **schema}))
