"""Converse responses, whole and as the equivalent ConverseStream frames."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from gateway.calls.eventstream import Frame

text_blocks = st.builds(lambda text: {"text": text}, st.text(min_size=1, max_size=20))
tool_blocks = st.builds(
    lambda name, value: {"toolUse": {"toolUseId": f"t-{name}", "name": name, "input": value}},
    st.text("abc_", min_size=1, max_size=5),
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=3),
)


def answer(content: list[Any], reason: str = "end_turn") -> dict[str, Any]:
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason}


def frame(kind: str, payload: Any) -> Frame:
    return Frame(kind, json.dumps(payload).encode())


def streamed(content: list[Any], pieces: int, reason: str) -> list[Frame]:
    """A response as equivalent frames, each text in up to `pieces` parts."""

    def parts(text: str) -> list[str]:
        size = max(1, -(-len(text) // pieces))
        return [text[at : at + size] for at in range(0, len(text), size)]

    made = [frame("messageStart", {"role": "assistant"})]
    for index, block in enumerate(content):
        if "text" in block:
            deltas: list[Any] = [{"text": part} for part in parts(block["text"])]
        elif "toolUse" in block:
            use = block["toolUse"]
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            made.append(frame("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            deltas = [
                {"toolUse": {"input": part}} for part in (parts(json.dumps(use["input"])) if use["input"] else [""])
            ]
        else:
            words = block["reasoningContent"].get("reasoningText", {})
            deltas = [{"reasoningContent": {"text": part}} for part in parts(words.get("text", ""))]
            deltas += [{"reasoningContent": {"signature": part}} for part in parts(words.get("signature", ""))]
            hidden = block["reasoningContent"].get("redactedContent")
            deltas += [{"reasoningContent": {"redactedContent": hidden}}] if hidden else []
        made += [frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
        made.append(frame("contentBlockStop", {"contentBlockIndex": index}))
    return [*made, frame("messageStop", {"stopReason": reason}), frame("metadata", {"usage": {}})]
