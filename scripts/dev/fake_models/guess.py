"""Guesses a body's dialect if only an ARN names the model: a custom, imported or provisioned one."""

from typing import Any

# Parts of custom models' names, by people and AWS, the most specific first.
_HINTS = (
    ("embed-image", "titan-embed-image"),
    ("titan-image", "titan-image"),
    ("nova", "nova"),
    ("claude-v2", "claude-text"),
    ("claude-instant", "claude-text"),
    ("claude", "claude"),
    ("command-r", "command-r"),
    ("command", "command"),
    ("llama", "llama"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("j2-", "j2"),
)


def guess_dialect(arn: str, body: dict[str, Any]) -> str:
    """The dialect that the body's keys imply, else the one that the ARN's name implies."""
    keys = body.keys()
    if "taskType" in keys:
        return "titan-image"
    if "text_prompts" in keys:
        return "sdxl"
    if "anthropic_version" in keys:
        return "claude"
    if "max_tokens_to_sample" in keys or str(body.get("prompt", "")).startswith("\n\nHuman:"):
        return "claude-text"
    if "messages" in keys:
        return "nova" if "inferenceConfig" in keys or "schemaVersion" in keys or _converse_like(body) else "chat"
    if "inputImage" in keys or "embeddingConfig" in keys:
        return "titan-embed-image"
    if "textGenerationConfig" in keys:
        return "titan-text"
    if "inputText" in keys:
        return "titan-embed-v2" if "embed" in arn or keys & {"dimensions", "normalize"} else "titan-text"
    if "input_type" in keys or "texts" in keys:
        return "cohere-embed"
    if "message" in keys:
        return "command-r"
    if "max_gen_len" in keys:
        return "llama"
    if "maxTokens" in keys:
        return "j2"
    for hint, dialect in _HINTS:
        if hint in arn:
            return dialect
    if keys & {"p", "k", "return_likelihoods", "stop_sequences"} or "cohere" in arn:
        return "command"
    return "mistral" if "max_tokens" in keys else "llama"


def _converse_like(body: dict[str, Any]) -> bool:
    content = (body["messages"] or [{}])[0].get("content")
    return isinstance(content, list) and bool(content) and "type" not in content[0]
