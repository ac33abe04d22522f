"""What one call asks of a model, and what the model says: the middle that every wire format reads and writes."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

from scripts.dev.model_stand_in.directives import Directives, read_directives
from scripts.dev.model_stand_in.ledger import Usage
from scripts.dev.model_stand_in.tokens import IMAGE_TOKENS, count_bytes, count_tokens, fingerprint, words

Ttl = Literal["5m", "1h"]
Kind = Literal["reasoning", "text", "tool"]
Stop = Literal["end", "length", "stop_sequence", "tool"]
_USUAL_DELTAS = 5


class Part(NamedTuple):
    """A piece of a prompt: what identifies it (for the prompt cache) and how many tokens it is."""

    content: str
    tokens: int


class Prompt:
    """What a call says to a model, in order, with the places up to which it may be cached."""

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

    def attach(self, document: str, size: int) -> None:
        """Add `size` bytes of a document to the current message."""
        self.parts.append(Part(document, count_bytes(size)))

    def declare(self, definition: Any) -> None:
        """Add what is counted but not said: a tool's definition, a tool call of an earlier turn."""
        text = json.dumps(definition, sort_keys=True)
        self.parts.append(Part(text, count_tokens(text)))

    def cache_point(self, ttl: Ttl = "5m") -> None:
        """Everything so far may be cached."""
        self.cache_points.append((len(self.parts), ttl))

    @property
    def tokens(self) -> int:
        return sum(part.tokens for part in self.parts)

    @property
    def text(self) -> str:
        return "\n".join(part.content for part in self.parts)


@dataclass(frozen=True)
class Tool:
    """A function the model may ask for."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass
class Ask:
    """One call to a text model, whatever shape it arrived in."""

    model_id: str
    prompt: Prompt
    max_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    tools: tuple[Tool, ...] = ()
    must_use_tool: str | None = None
    chatty: bool = False  # Asked in messages, where the same model also takes a prompt.
    directives: Directives = field(default_factory=Directives)

    def __post_init__(self) -> None:
        self.directives = read_directives(self.prompt.text)


class Delta(NamedTuple):
    """A piece of an answer."""

    kind: Kind
    text: str


class Generation:
    """An answer while it is being said. `usage` and `stop` are final once `done`; a stand-in knows them before."""

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
        """Take over what is to be said, for a source that itself changes `usage` and `stop` as it goes."""
        self._said = said

    def __iter__(self) -> Iterator[Delta]:
        for delta in self._said:
            if self.first_delta_at is None:
                self.first_delta_at = time.monotonic()
            self.deltas.append(delta)
            yield delta
        self.done = True

    def finish(self) -> "Generation":
        """Let the model speak to its end, whether or not anybody listens, without any pause."""
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
        """What was used when the answer broke off: all of the input, and what was said of the output."""
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
    """Whoever answers: the stand-in's own deterministic model, or a real one behind it."""

    def generate(self, ask: Ask, usage: Usage, stream: bool) -> Generation:
        """Begin an answer; `usage` holds the input as the stand-in counts it."""


class DeterministicModel:
    """The same question always gets the same answer, as long as it is asked to be and never longer than allowed."""

    def generate(self, ask: Ask, usage: Usage, stream: bool) -> Generation:
        """Plan the whole answer, then say it delta by delta."""
        wish = ask.directives
        room = ask.max_tokens if ask.max_tokens is not None else 1 << 30
        deltas: list[Delta] = []
        reasoning = min(wish.reasoning, room - 1)
        if reasoning > 0:
            deltas.append(Delta("reasoning", words(f"Thinking about {fingerprint(ask.prompt.text)}. ", reasoning)))
            room -= reasoning
        tool = self._tool(ask)
        stop: Stop = "tool" if tool else "end"
        stop_sequence = None
        if tool is None or wish.tokens_out is not None:
            text, cut_off = self._text(ask, room, reasoning)
            for sequence in ask.stop_sequences:
                if sequence and sequence in text:
                    text, stop, stop_sequence, cut_off = text[: text.index(sequence)], "stop_sequence", sequence, False
            if cut_off:
                stop, tool = "length", None
            deltas.extend(Delta("text", piece) for piece in _pieces(text, wish.chunks))
        else:
            text = ""
        arguments = json.dumps(_arguments(tool, ask.prompt.text)) if tool else ""
        if tool:
            deltas.extend(Delta("tool", piece) for piece in _pieces(arguments, 2))
        counted = replace(
            usage,
            output_tokens=reasoning * (reasoning > 0) + sum(count_tokens(said) for said in (text, arguments) if said),
        )
        if wish.usage:
            counted = Usage(**{**asdict(counted), **dict(wish.usage)})
        generation = Generation(iter(()), counted, stop, tool.name if tool else None)
        generation.stop_sequence = stop_sequence
        generation.say(_say(deltas, wish.chunk_delay, generation))
        return generation

    @staticmethod
    def _text(ask: Ask, room: int, spent: int) -> tuple[str, bool]:
        name = fingerprint(ask.model_id + ask.prompt.text)
        opening = f"{ask.model_id} answers {name} after {ask.prompt.tokens} tokens. "
        wish = ask.directives
        if wish.tokens_out is not None:
            wanted = max(1, wish.tokens_out - max(0, spent))
        else:
            wanted = max(count_tokens(opening) + int(name[:2], 16) % 16, (wish.chunks or 0))
        return words(opening, min(wanted, room)), wanted > room

    @staticmethod
    def _tool(ask: Ask) -> Tool | None:
        wanted = ask.directives.tool or ask.must_use_tool
        return next((tool for tool in ask.tools if tool.name == wanted), None) if wanted else None


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


def _arguments(tool: Tool, prompt: str) -> dict[str, Any]:
    """The least that the tool's schema asks for."""
    samples: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    properties: Mapping[str, Any] = tool.schema.get("properties", {})
    return {name: samples.get(properties.get(name, {}).get("type"), fingerprint(prompt)) for name in properties}
