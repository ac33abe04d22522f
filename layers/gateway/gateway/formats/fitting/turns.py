"""The system prompt and the turns: none blank, each with what may stand beside it."""

from __future__ import annotations

import binascii
import re

from gateway.formats.fitting.work import BEGIN, GO_ON, Json, Work, is_blank, mark

_BESIDE = "The document is attached."
_UNFIT, _BLANKS = re.compile(r"[^A-Za-z0-9\s()\[\]-]"), re.compile(r"\s{2,}")
_PLAIN = {"txt", "md", "csv", "html"}


def system(work: Work) -> None:
    marked = (_marked(work, block) for block in work.body.get("system") or ())
    kept = [block for block in marked if block and not is_blank(block)]
    while kept and "cachePoint" in kept[0]:
        del kept[0]
    if kept and not work.family.system:
        words = [block for block in kept if "text" in block]
        work.body["messages"] = [{"role": "user", "content": words}, *work.body["messages"]]
        work.warn("the system prompt was moved before the first turn: this model does not support one")
        kept = []
    work.put("system", kept)


def _marked(work: Work, block: Json) -> Json | None:
    return mark(work, block) if "cachePoint" in block else block


def turns(work: Work) -> None:
    """Turns that alternate, begin with the user, and hold nothing blank."""
    turns: list[Json] = []
    for turn in work.body["messages"]:
        content = [fitted for block in turn["content"] for fitted in _content(work, block)]
        while content and "cachePoint" in content[0]:
            del content[0]
        if not content:
            continue
        if turns and turns[-1]["role"] == turn.get("role") != "system":
            turns[-1]["content"] += content
        else:
            turns.append({**turn, "content": content})
    if not turns and work.body["messages"]:
        turns = [{"role": "user", "content": [{"text": BEGIN}]}]
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"text": BEGIN}]})
        work.warn("a user turn was inserted before the first turn, which was the assistant's")
    if turns and turns[-1]["role"] == "assistant" and not work.family.prefill:
        turns.append({"role": "user", "content": [{"text": GO_ON}]})
        work.warn("a user turn asks the model to continue the last assistant turn: this model does not support prefill")
    work.body["messages"] = turns


def _content(work: Work, block: Json) -> list[Json]:
    if is_blank(block):
        if block["text"]:
            work.warn("blank text was left out: models on Bedrock refuse it")
        return []
    if "cachePoint" in block:
        return [marked] if (marked := mark(work, block)) else []
    if "toolResult" in block:
        return [{**block, "toolResult": _result(work, block["toolResult"])}]
    if "document" in block and not work.family.documents and (text := _words_of(block["document"])):
        work.warn("documents were sent as text: this model does not support documents")
        return [{"text": text}]
    return [_named(work, block)]


def _named(work: Work, block: Json) -> Json:
    """A document by a name that Bedrock takes. Source: the bedrock-runtime service model, DocumentBlock."""
    document = block.get("document")
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        return block
    fitting = _BLANKS.sub(" ", _UNFIT.sub("-", name))
    if fitting == name:
        return block
    work.warn("a document was renamed: Bedrock allows letters, digits, spaces, hyphens and brackets")
    return {**block, "document": {**block["document"], "name": fitting}}


def _result(work: Work, result: Json) -> Json:
    parts = result.get("content")
    fitted = dict(result)
    if isinstance(parts, list):
        fitted["content"] = [part for part in parts if not (isinstance(part, dict) and is_blank(part))]
    if fitted.get("status") == "error" and not work.family.result_status:
        del fitted["status"]
        fitted["content"] = [{"text": "Error:"}, *fitted.get("content", [])]
    elif not work.family.result_status:
        fitted.pop("status", None)
    return fitted


def _words_of(document: Json) -> str:
    """The words of a document that is text; empty for any other."""
    source = document.get("source")
    source = source if isinstance(source, dict) else {}
    text = source.get("text")
    if document.get("format") in _PLAIN and isinstance(source.get("bytes"), str):
        try:
            text = binascii.a2b_base64(source["bytes"]).decode()
        except ValueError:
            text = None
    name = document.get("name", "")
    return f'<document name="{name}">\n{text}\n</document>' if isinstance(text, str) and text.strip() else ""


def neighbours(work: Work) -> None:
    """A document has a text beside it; a result has beside it what the family allows."""
    turns: list[Json] = []
    for turn in work.body["messages"]:
        parts = _apart(work, turn["content"]) if turn.get("role") == "user" else [turn["content"]]
        for index, content in enumerate(parts):
            if index:
                turns.append({"role": "assistant", "content": [{"text": BEGIN}]})
            alone = any("document" in block for block in content) and not any("text" in block for block in content)
            if alone:
                work.warn("text was added beside a document: models on Bedrock do not accept a document alone")
            turns.append({**turn, "content": [*content, {"text": _BESIDE}] if alone else content})
    work.body["messages"] = turns


def _apart(work: Work, content: list[Json]) -> list[list[Json]]:
    results: list[Json] = []
    others: list[Json] = []
    place = others
    for block in content:
        if "cachePoint" not in block:  # a mark goes with what it follows
            place = results if "toolResult" in block else others
        place.append(block)
    if not others or not results:
        return [content]
    documents = any("document" in block for block in others) and not work.family.results_with_documents
    if not (work.family.results_alone or documents):
        return [content]
    work.warn("tool results were moved into a separate turn: this model accepts nothing beside them")
    return [results, others]
