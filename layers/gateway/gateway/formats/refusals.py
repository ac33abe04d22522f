"""The fields of a request that are refused by their name, and why. Any other unknown field is left out with a warning.

    safety     the model would answer without a guard that the client counts on
    place      the call would run or be stored elsewhere than the client says
    cost       the call would cost more than the client expects, or another would be charged
    context    the model would not read what the client counts on, and answer another question
    shape      the client would read an answer of another shape than it asked for

Each field has the sentence that tells its client what to do. A field whose value is an empty list asks for nothing.
"""

from __future__ import annotations

_GUARDED = "Guardrails are set in your tenant's record."
_MARKED = 'Mark content to cache with cache_control: {"type": "ephemeral"}.'
_UNSTORED = "The gateway does not store conversations. Send the previous turns in input."
_BY_KEY = "usage is attributed by your key."
_TEXT = "Models produce only text here."

# safety: the names of Bedrock, of OpenAI, and of other gateways and models
_GUARDS = dict.fromkeys(
    (
        "guardrails", "guardrail_config", "guardrailConfig", "amazon-bedrock-guardrailConfig", "moderation",
        "safety_settings", "safety_mode", "safe_prompt",
    ),
    _GUARDED,
)  # fmt: skip
# cost: another format's word for the most tokens to make, without which an answer has no bound
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "maxTokens", "inferenceConfig")

CHAT = {
    **_GUARDS,
    # cost
    **dict.fromkeys(_LIMITS[2:], "Send max_completion_tokens."),
    "prompt_cache_options": _MARKED,
    # context
    "system": "Send a message of the role system.",
    "instructions": "Send a message of the role system.",
    # shape
    "audio": _TEXT,
    "functions": "Send tools.",
    "function_call": "Send tool_choice.",
}
CHAT_TURN = {
    "prompt_cache_breakpoint": 'Send cache_control: {"type": "ephemeral"} beside the part.',  # cost
}
CHAT_ASSISTANT = {
    **CHAT_TURN,
    # context
    "audio": _TEXT,
    "function_call": "Send tool_calls.",
}
CHAT_FILE = {
    "file_id": "The gateway does not store files. Send file_data.",  # context
}
RESPONSES = {
    **_GUARDS,
    # cost
    **dict.fromkeys((*_LIMITS[:2], *_LIMITS[3:]), "Send max_output_tokens."),
    "prompt_cache_options": _MARKED,
    # context
    "previous_response_id": _UNSTORED,
    "conversation": _UNSTORED,
    "prompt": "The gateway does not store prompts. Send the text in input.",
    "messages": "Send input.",
    "system": "Send instructions.",
    # shape
    "response_format": "Send text.format.",
}
RESPONSES_PART = {
    "prompt_cache_breakpoint": 'Send cache_control: {"type": "ephemeral"} in the part.',  # cost
    # context
    "file_id": "The gateway does not store files. Send the file data.",
    "file_url": "The gateway does not fetch URLs. Send file_data.",
}
MESSAGES = {
    **_GUARDS,
    # place
    "inference_geo": "name an inference profile in model, e.g. eu.anthropic.…, to keep a call in a geography.",
    # cost
    "billing_policy": _BY_KEY,
    "fallback_credit_token": _BY_KEY,
}
