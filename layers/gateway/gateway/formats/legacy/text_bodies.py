"""What each family of text models takes as its native body."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.formats.image_models import Json

DEFAULT_MAX_TOKENS = 1024


# ------------------------------------------------------------------------------------------------------------- text
def _claude_v2(inputs: str, parameters: Json) -> Json:
    prompt = inputs if "\n\nHuman:" in inputs else f"\n\nHuman: {inputs}\n\nAssistant:"
    return {"prompt": prompt, "max_tokens_to_sample": 256, **parameters}


def _claude(inputs: str | list[Any], parameters: Json) -> Json:
    messages = [{"role": "user", "content": inputs}] if isinstance(inputs, str) else inputs
    rest = dict(parameters)
    max_tokens = rest.pop("max_tokens_to_sample", DEFAULT_MAX_TOKENS)
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": max_tokens, "messages": messages, **rest}


def _jamba(inputs: str | list[Any], parameters: Json) -> Json:
    messages = [{"role": "user", "content": inputs}] if isinstance(inputs, str) else inputs
    return {"messages": messages, **parameters}


def _prompt(inputs: str, parameters: Json) -> Json:
    return {"prompt": inputs, **parameters}


def _claude_text(body: Json) -> str:
    return "".join(block.get("text", "") for block in body["content"])


@dataclass(frozen=True)
class TextShape:
    """How one family of models is asked for text, and where the text is."""

    ids: re.Pattern[str]
    body: Callable[[Any, Json], Json]
    text: Callable[[Json], Any]
    output: tuple[str, ...] = ("max_tokens",)  # where its body says how many tokens it may make
    answers: str = ""  # where its body says how many answers
    lists: bool = False  # does its own body take a list of messages?


TEXT = (
    TextShape(
        re.compile(r"amazon\.titan-t"),
        lambda inputs, parameters: {"inputText": inputs, "textGenerationConfig": parameters},
        lambda body: body["results"][0]["outputText"],
        ("textGenerationConfig", "maxTokenCount"),
    ),
    TextShape(
        re.compile(r"anthropic\.claude-(v1|v2|instant)"),
        _claude_v2,
        lambda body: body["completion"],
        ("max_tokens_to_sample",),
    ),
    TextShape(re.compile(r"anthropic\."), _claude, _claude_text, lists=True),
    TextShape(
        re.compile(r"ai21\.jamba"),
        _jamba,
        lambda body: body["choices"][0]["message"]["content"] or "",
        answers="n",
        lists=True,
    ),
    TextShape(
        re.compile(r"ai21\.j"),
        _prompt,
        lambda body: body["completions"][0]["data"]["text"],
        ("maxTokens",),
        answers="numResults",
    ),
    TextShape(
        re.compile(r"cohere\.command-(text|light)"),
        _prompt,
        lambda body: body["generations"][0]["text"],
        answers="num_generations",
    ),
    TextShape(
        re.compile(r"cohere\.command-r"),
        lambda inputs, parameters: {"message": inputs, **parameters},
        lambda body: body["text"],
    ),
    TextShape(re.compile(r"meta\."), _prompt, lambda body: body["generation"], ("max_gen_len",)),
    TextShape(
        re.compile(r"mistral\.(mistral-7b|mixtral|mistral-large-2402|mistral-small-2402)"),
        _prompt,
        lambda body: body["outputs"][0]["text"],
    ),
)

# Parameters by the names that providers' own bodies use, as Converse has them.
INFERENCE = {
    "max_tokens": "maxTokens", "max_new_tokens": "maxTokens", "max_gen_len": "maxTokens", "maxTokens": "maxTokens",
    "temperature": "temperature", "top_p": "topP", "topP": "topP",
    "stop": "stopSequences", "stop_sequences": "stopSequences", "stopSequences": "stopSequences", "system": "system",
}  # fmt: skip


def as_converse(parameters: Json, additional: Json) -> tuple[Json, Json]:
    """A provider's parameters as Converse's; those that Converse has no name for go along as additional fields."""
    known = {INFERENCE[name]: value for name, value in parameters.items() if name in INFERENCE}
    return known, {name: value for name, value in parameters.items() if name not in INFERENCE} | additional
