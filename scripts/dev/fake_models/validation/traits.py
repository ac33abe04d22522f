"""Each family's refusals, one line per family; the first pattern that matches a model's id counts.

    no-tools no-system no-images no-documents    it accepts none of these
    no-tool-stream                               it does not stream if tools are declared
    no-tool no-any                               it cannot be forced to call one tool, or any
    no-temperature no-top-p one-sampling         no temperature; no top_p; not both
    no-stops no-schema no-prefill                no stop sequences; no structured output; no final assistant turn
    no-cache no-hour no-tool-cache               no cache points; no one-hour ones; none among the tools
    alone no-beside no-status                    tool results: no other content; no documents; no status
    unforced                                     it does not think if it is forced to call a tool
    budget adaptive always                       thinking: with a budget only; adaptive only; always on
    no-thought no-effort no-system-turn no-search no-edits

Sources: Amazon Bedrock user guide, "Supported models and model features", "Prompt caching", "Get validated JSON results
from models" and the model cards; API reference, ToolChoice; Anthropic's migration guides; published error messages
(pydantic-ai, vercel/ai, BerriAI/litellm, anthropics/claude-code, aws-samples).
"""

import re
from functools import lru_cache

_PREFIX = re.compile(r"^(?:us-gov|us|eu|apac|jp|au|ca|in|sa|me|af|global)\.(?=[a-z0-9]+\.)")
_OPEN = "no-cache no-tool"
_C3 = "no-schema no-hour no-beside no-thought no-effort no-system-turn no-search no-edits unforced"
_C4 = "no-schema no-hour no-beside no-effort no-system-turn no-search unforced budget"
_C45 = "no-beside no-effort no-system-turn one-sampling unforced budget"
_C46 = "no-beside no-system-turn one-sampling no-prefill unforced"
_C47 = "no-schema no-beside no-system-turn no-temperature no-top-p no-prefill unforced adaptive"
_C5 = "no-schema no-beside no-temperature no-top-p no-prefill adaptive"
_NEWEST = f"{_C5} no-tool no-any always"

_LINES: tuple[tuple[str, str], ...] = (
    (r"anthropic\.claude-(v\d|instant)", f"no-tools no-images no-cache {_C3}"),
    (r"anthropic\.claude-3-(haiku|sonnet|opus)|anthropic\.claude-3-5-sonnet-20240620", f"no-cache {_C3}"),
    (r"anthropic\.claude-3-5", _C3),
    (r"anthropic\.claude-3-7", f"{_C4} no-edits"),
    (r"anthropic\.claude-(opus|sonnet)-4-2", _C4),
    (r"anthropic\.claude-opus-4-1", f"{_C4} one-sampling"),
    (r"anthropic\.claude-opus-4-5", _C45.replace("no-effort ", "")),
    (r"anthropic\.claude-(sonnet|haiku)-4-5", _C45),
    (r"anthropic\.claude-(opus|sonnet)-4-6", _C46),
    (r"anthropic\.claude-opus-4-7", _C47),
    (r"anthropic\.claude-(opus-5-5|fable|mythos)", _NEWEST),
    (r"anthropic\.claude-sonnet-5(?!-5)", f"{_C5} no-system-turn"),
    (r"anthropic\.claude-", _C5),
    (r"amazon\.nova-micro", "no-images no-documents no-schema no-hour no-tool-cache"),
    (r"amazon\.nova", "no-schema no-hour no-tool-cache"),
    (r"amazon\.titan-t", "no-tools no-system no-images no-schema no-cache"),
    (r"meta\.llama(2|3-8b|3-70b|3-2-[13]b)", "no-tools no-images no-schema no-cache"),
    (r"meta\.llama(3-2|4)", "no-tool no-any no-tool-stream no-schema no-cache alone"),
    (r"meta\.", "no-images no-tool no-any no-tool-stream no-schema no-cache alone"),
    (r"mistral\.(mistral-7b|mixtral)", "no-tools no-system no-images no-schema no-cache"),
    (r"mistral\.(mistral-large-3|magistral|ministral-3|voxtral)", f"{_OPEN} alone"),
    (r"mistral\.mistral-small-2402", f"{_OPEN} no-any no-documents no-images no-schema alone"),
    (r"mistral\.pixtral", f"{_OPEN} no-schema alone"),
    (r"mistral\.", f"{_OPEN} no-images no-schema alone"),
    (r"cohere\.command-r", f"{_OPEN} no-any no-images no-schema"),
    (r"cohere\.command-|ai21\.j2", "no-tools no-system no-images no-documents no-schema no-cache"),
    (r"ai21\.jamba-instruct", "no-tools no-images no-documents no-schema no-cache"),
    (r"ai21\.jamba", f"{_OPEN} no-any no-images no-schema"),
    (r"deepseek\.r1", "no-tools no-images no-schema no-cache"),
    (r"(deepseek\.v3|qwen\.(?!qwen3-vl)|minimax\.|zai\.)", f"{_OPEN} no-images no-documents no-stops"),
    (r"qwen\.qwen3-vl", f"{_OPEN} no-documents no-stops"),
    (r"openai\.gpt-oss", f"{_OPEN} no-images no-documents no-stops"),
    (r"openai\.", f"{_OPEN} no-temperature no-top-p no-stops no-schema"),
    (r"google\.gemma-3-4b", f"{_OPEN} no-documents no-stops no-schema"),
    (r"google\.gemma", f"{_OPEN} no-documents no-stops"),
    (r"xai\.", f"{_OPEN} no-temperature no-top-p no-schema"),
    (r"moonshotai\.kimi-k3", f"{_OPEN} no-temperature no-top-p no-stops no-documents no-schema"),
    (r"moonshot", f"{_OPEN} no-stops no-documents"),
    (r"nvidia\.nemotron-super", f"{_OPEN} no-images no-documents no-schema"),
    (r"nvidia\.", f"{_OPEN} no-images no-documents"),
    (r"writer\.", f"{_OPEN} no-any no-schema alone no-status"),
)
_COMPILED = tuple((re.compile(pattern), frozenset(words.split())) for pattern, words in _LINES)


@lru_cache(maxsize=512)
def traits(model_id: str) -> frozenset[str]:
    """The refusals of the model behind an id, a profile or an ARN; none for a custom model."""
    name = model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id
    base = _PREFIX.sub("", name)
    return next((words for pattern, words in _COMPILED if pattern.match(base)), frozenset())
