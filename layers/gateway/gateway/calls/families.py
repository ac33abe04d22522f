"""The fields that each family of models accepts: one row for each family, with its source.

A field that a family refuses would fail the whole call. So `gateway.formats.fitting` leaves such fields out, or
translates them, by these rows. A model without a row receives the client's request unchanged.

    guide     Amazon Bedrock user guide, "Supported models and model features" of Converse
    choice    Amazon Bedrock API reference, ToolChoice; langchain-aws, `supports_tool_choice_values`
    cards     Amazon Bedrock user guide, model cards
    schemas   Amazon Bedrock user guide, "Get validated JSON results from models"
    caches    Amazon Bedrock user guide, "Prompt caching"
    measured  calls that others made and published: pydantic-ai `providers/bedrock.py` (2026-07), aws-samples'
              table of what Converse takes of GPT, gpt-oss and Claude (2026-09), BerriAI/litellm PR 32831,
              vercel/ai issues 21364 and 21374
    changes   Anthropic's migration guides for Claude 4.6, 4.7, 4.8, Fable 5.1 and Opus 5.5
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True)
class Family:
    """The features of models whose ids begin with `prefix`. The defaults apply to a model without a row."""

    prefix: str = ""
    sources: str = ""
    tools: bool = True
    streams_tools: bool = True  # can it stream an answer when tools are declared?
    forces: frozenset[str] = frozenset({"any", "tool"})  # the tool choices that can force a call; empty: none
    system: bool = True
    images: bool = True
    documents: bool = True
    temperature: bool = True
    top_p: bool = True
    one_sampling: bool = False  # accepts temperature or top_p, never both
    stops: bool = True
    schema: bool = True  # Converse's outputConfig.textFormat, and `strict` tools
    caches: bool = True
    caches_tools: bool = True
    caches_an_hour: bool = True
    prefill: bool = True  # may the conversation end with an assistant turn?
    results_alone: bool = False  # a tool result must be alone in its turn
    results_with_documents: bool = True
    result_status: bool = True
    # Claude only:
    claude: bool = False
    thinks: str = ""  # "budget": with a token budget; "both"; "adaptive"; "always": adaptive, cannot be disabled
    thinks_and_forces: bool = False  # can it think in a call that forces a tool?
    efforts: bool = False
    system_turns: bool = False  # `role: system` inside the messages
    edits_context: bool = False
    searches_tools: bool = False  # `defer_loading` and tool search
    betas: frozenset[str] = frozenset()


_ANY, _AUTO = frozenset({"any"}), frozenset[str]()
# Only Claude and Nova can be forced to call one tool of several. Source: `tool` in the API reference of ToolChoice.
_OPEN = Family(caches=False, images=False, forces=_ANY)

# Beta flags that Bedrock accepts. Sources: "Anthropic Claude Messages API" in the Amazon Bedrock user guide;
# BerriAI/litellm `anthropic_beta_headers_config.json`; anthropics/claude-code issues 49648, 49370 and 56595.
_EVERY = frozenset({"fine-grained-tool-streaming-2025-05-14"})
_THINKING = _EVERY | {"interleaved-thinking-2025-05-14", "computer-use-2025-01-24"}
_CONTEXT = frozenset({"context-management-2025-06-27"})
_SEARCH = frozenset({"tool-search-tool-2025-10-19", "computer-use-2025-11-24"})
_LATER = _CONTEXT | _SEARCH | {
    "fine-grained-tool-streaming-2025-05-14", "interleaved-thinking-2025-05-14", "compact-2026-01-12",
}  # fmt: skip
_FIVE = _LATER | {
    "dangerous-tool-use-2026-09-03", "thinking-binding-controls-2026-08-01", "thinking-display-updates-2026-08-18",
    "mid-conversation-output-config-2026-07-01", "mid-conversation-tool-changes-2026-07-01",
}  # fmt: skip

_CLAUDE = Family(
    sources="guide, choice, caches", claude=True, schema=False, caches_an_hour=False, results_with_documents=False
)
_CLAUDE_3 = replace(_CLAUDE, betas=frozenset())
_CLAUDE_4 = replace(_CLAUDE, thinks="budget", betas=_THINKING | _CONTEXT)
_CLAUDE_4_5 = replace(
    _CLAUDE_4, sources="guide, schemas, caches, measured", one_sampling=True, schema=True, caches_an_hour=True,
    edits_context=True, searches_tools=True, betas=_THINKING | _CONTEXT | _SEARCH,
)  # fmt: skip
_CLAUDE_4_6 = replace(
    _CLAUDE_4_5, sources="cards, schemas, changes, measured", thinks="both", efforts=True, prefill=False,
    betas=_LATER | {"context-1m-2025-08-07"},
)  # fmt: skip
_CLAUDE_4_7 = replace(
    _CLAUDE_4_6, sources="cards, changes, measured", temperature=False, top_p=False, schema=False, thinks="adaptive",
    betas=_LATER,
)  # fmt: skip
_CLAUDE_4_8 = replace(_CLAUDE_4_7, thinks_and_forces=True, system_turns=True)
_CLAUDE_5 = replace(_CLAUDE_4_8, betas=_FIVE)
# The newest models always think, and none of them can be forced to call a tool.
_CLAUDE_5_1 = replace(_CLAUDE_5, thinks="always", forces=_AUTO)

_LLAMA = Family(
    sources="guide, choice, measured", streams_tools=False, forces=_AUTO, schema=False, caches=False, results_alone=True
)
_LLAMA_TALKS = replace(_LLAMA, sources="guide", tools=False, streams_tools=True, images=False, results_alone=False)

_ROWS: tuple[Family, ...] = (
    # ------------------------------------------------------------------------------------------------------ Anthropic
    replace(_CLAUDE_5, prefix="anthropic.claude-", sources="cards, changes (the newest known)"),
    replace(_CLAUDE, prefix="anthropic.claude-v", tools=False, images=False, caches=False, forces=_AUTO),
    replace(_CLAUDE, prefix="anthropic.claude-instant", tools=False, images=False, caches=False, forces=_AUTO),
    replace(_CLAUDE_3, prefix="anthropic.claude-3-", caches=False),
    replace(_CLAUDE_3, prefix="anthropic.claude-3-5-haiku"),
    replace(_CLAUDE_3, prefix="anthropic.claude-3-5-sonnet-20241022", betas=frozenset({"computer-use-2024-10-22"})),
    replace(_CLAUDE_3, prefix="anthropic.claude-3-7-", thinks="budget", betas=frozenset({
        "token-efficient-tools-2025-02-19", "output-128k-2025-02-19", "computer-use-2025-01-24",
        "dev-full-thinking-2025-05-14",
    })),
    replace(_CLAUDE_4, prefix="anthropic.claude-sonnet-4-2", edits_context=True,
            betas=_THINKING | _CONTEXT | {"context-1m-2025-08-07"}),
    replace(_CLAUDE_4, prefix="anthropic.claude-opus-4-2", edits_context=True),
    replace(_CLAUDE_4, prefix="anthropic.claude-opus-4-1", one_sampling=True, edits_context=True,
            sources="guide, choice, caches, measured"),
    replace(_CLAUDE_4_5, prefix="anthropic.claude-sonnet-4-5",
            betas=_CLAUDE_4_5.betas | {"context-1m-2025-08-07"}),
    replace(_CLAUDE_4_5, prefix="anthropic.claude-haiku-4-5"),
    replace(_CLAUDE_4_5, prefix="anthropic.claude-opus-4-5", efforts=True,
            betas=_CLAUDE_4_5.betas | {"effort-2025-11-24", "tool-examples-2025-10-29"}),
    replace(_CLAUDE_4_6, prefix="anthropic.claude-sonnet-4-6"),
    replace(_CLAUDE_4_6, prefix="anthropic.claude-opus-4-6"),
    replace(_CLAUDE_4_7, prefix="anthropic.claude-opus-4-7"),
    replace(_CLAUDE_4_8, prefix="anthropic.claude-opus-4-8"),
    replace(_CLAUDE_5, prefix="anthropic.claude-opus-5"),
    replace(_CLAUDE_5_1, prefix="anthropic.claude-opus-5-5"),
    # Reports differ on system turns of Sonnet 5, so they are sent as user text, which it certainly accepts.
    replace(_CLAUDE_5, prefix="anthropic.claude-sonnet-5", system_turns=False),
    replace(_CLAUDE_5, prefix="anthropic.claude-sonnet-5-5"),
    replace(_CLAUDE_5, prefix="anthropic.claude-haiku-5-5"),
    # Reports differ on forced tools of Fable 5 and Mythos 5, so the prompt requests the call, which is accepted.
    replace(_CLAUDE_5_1, prefix="anthropic.claude-fable-"),
    replace(_CLAUDE_5_1, prefix="anthropic.claude-mythos-"),
    # --------------------------------------------------------------------------------------------------------- Amazon
    Family("amazon.nova-", "guide, choice, caches", schema=False, caches_tools=False, caches_an_hour=False),
    Family("amazon.nova-micro", "guide, choice, caches", schema=False, caches_tools=False, caches_an_hour=False,
           images=False, documents=False),
    Family("amazon.titan-t", "guide", tools=False, forces=_AUTO, system=False, images=False, schema=False,
           caches=False),
    # ----------------------------------------------------------------------------------------------------------- Meta
    replace(_LLAMA, prefix="meta.llama", images=False),
    replace(_LLAMA, prefix="meta.llama3-2-11b"),
    replace(_LLAMA, prefix="meta.llama3-2-90b"),
    replace(_LLAMA, prefix="meta.llama4"),
    replace(_LLAMA_TALKS, prefix="meta.llama2"),
    replace(_LLAMA_TALKS, prefix="meta.llama3-8b"),
    replace(_LLAMA_TALKS, prefix="meta.llama3-70b"),
    replace(_LLAMA_TALKS, prefix="meta.llama3-2-1b"),
    replace(_LLAMA_TALKS, prefix="meta.llama3-2-3b"),
    # -------------------------------------------------------------------------------------------------------- Mistral
    replace(_OPEN, prefix="mistral.", sources="guide, choice, measured", forces=_ANY, schema=False,
            results_alone=True),
    replace(_OPEN, prefix="mistral.mistral-7b", sources="guide", tools=False, forces=_AUTO, system=False,
            schema=False),
    replace(_OPEN, prefix="mistral.mixtral", sources="guide", tools=False, forces=_AUTO, system=False, schema=False),
    replace(_OPEN, prefix="mistral.mistral-small-2402", sources="guide, choice, measured", forces=_AUTO,
            schema=False, documents=False, results_alone=True),
    replace(_OPEN, prefix="mistral.pixtral", sources="guide, choice, measured", forces=_ANY, images=True,
            schema=False, results_alone=True),
    replace(_OPEN, prefix="mistral.mistral-large-3", sources="cards, schemas", forces=_ANY, images=True,
            results_alone=True),
    replace(_OPEN, prefix="mistral.magistral", sources="cards, schemas", forces=_ANY, images=True,
            results_alone=True),
    replace(_OPEN, prefix="mistral.ministral-3", sources="cards, schemas", forces=_ANY, images=True,
            results_alone=True),
    replace(_OPEN, prefix="mistral.voxtral", sources="cards, schemas", forces=_ANY, results_alone=True),
    # ---------------------------------------------------------------------------------------------- Cohere and AI21
    replace(_OPEN, prefix="cohere.command-r", sources="guide, choice", forces=_AUTO, schema=False),
    replace(_OPEN, prefix="cohere.command-", sources="guide", tools=False, forces=_AUTO, system=False, schema=False,
            documents=False),
    replace(_OPEN, prefix="ai21.jamba-1-5", sources="guide, choice", forces=_AUTO, schema=False),
    replace(_OPEN, prefix="ai21.jamba-instruct", sources="guide", tools=False, forces=_AUTO, schema=False,
            documents=False),
    replace(_OPEN, prefix="ai21.j2", sources="guide", tools=False, forces=_AUTO, system=False, schema=False,
            documents=False),
    # ------------------------------------------------------------------------------------------------------- DeepSeek
    replace(_OPEN, prefix="deepseek.r1", sources="guide", tools=False, forces=_AUTO, schema=False),
    replace(_OPEN, prefix="deepseek.v3", sources="guide, choice, schemas, measured", forces=_ANY, stops=False,
            documents=False),
    # ------------------------------------------------------------------------------------------------------ the others
    replace(_OPEN, prefix="qwen.", sources="cards, schemas, measured", stops=False, documents=False),
    replace(_OPEN, prefix="qwen.qwen3-vl", sources="cards, schemas, measured", stops=False, documents=False,
            images=True),
    replace(_OPEN, prefix="openai.", sources="cards, measured", temperature=False, top_p=False, stops=False,
            schema=False, images=True),
    replace(_OPEN, prefix="openai.gpt-oss", sources="cards, schemas, measured", stops=False, documents=False),
    replace(_OPEN, prefix="google.gemma-3", sources="cards, schemas, measured", stops=False, images=True,
            documents=False),
    replace(_OPEN, prefix="google.gemma-3-4b", sources="cards, measured", stops=False, images=True, documents=False,
            schema=False),
    replace(_OPEN, prefix="xai.", sources="cards, measured", temperature=False, top_p=False, schema=False,
            images=True),
    replace(_OPEN, prefix="minimax.", sources="cards, schemas, measured", stops=False, documents=False),
    replace(_OPEN, prefix="moonshot.", sources="cards, schemas, measured", stops=False, documents=False),
    replace(_OPEN, prefix="moonshotai.", sources="cards, schemas, measured", stops=False, documents=False,
            images=True),
    replace(_OPEN, prefix="moonshotai.kimi-k3", sources="cards, measured", stops=False, documents=False, images=True,
            temperature=False, top_p=False, schema=False),
    replace(_OPEN, prefix="nvidia.", sources="cards, schemas", documents=False),
    replace(_OPEN, prefix="nvidia.nemotron-super", sources="cards", documents=False, schema=False),
    replace(_OPEN, prefix="writer.", sources="guide, measured", forces=_AUTO, schema=False, results_alone=True,
            result_status=False),
    replace(_OPEN, prefix="writer.palmyra-vision", sources="cards, measured", forces=_AUTO, schema=False,
            results_alone=True, result_status=False, images=True),
    replace(_OPEN, prefix="zai.", sources="cards, schemas, measured", stops=False, documents=False),
)  # fmt: skip
_BY_PREFIX = {row.prefix: row for row in _ROWS}
_LENGTHS = sorted({len(prefix) for prefix in _BY_PREFIX}, reverse=True)
UNKNOWN = Family()


@lru_cache(maxsize=512)
def family(base: str) -> Family:
    """The row of a model by its id without a profile: the longest matching prefix, else `UNKNOWN`."""
    return next((row for size in _LENGTHS if (row := _BY_PREFIX.get(base[:size]))), UNKNOWN)


def rows() -> tuple[Family, ...]:
    return _ROWS
