"""The tags of a call as one text: a JSON object of texts, sorted by name, as `{"project":"apollo","stage":"test"}`.

Ledger and lake hold the same text, so that equal tags are equal texts in every engine.
"""

from __future__ import annotations

import json

Tags = tuple[tuple[str, str], ...]

NO_TAGS = "{}"


def tags_to_text(tags: Tags) -> str:
    return json.dumps(dict(tags), ensure_ascii=False, separators=(",", ":")) if tags else NO_TAGS


def tags_from_text(text: str) -> Tags:
    """The tags in a text, sorted by name. Raises ValueError if it is not a JSON object of texts."""
    if text == NO_TAGS:
        return ()
    try:
        said = json.loads(text)
    except RecursionError as error:
        raise ValueError("tags are nested too deeply") from error
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError("tags are not a JSON object of texts")
    tags = tuple(sorted(said.items()))
    tags_to_text(tags).encode()  # half of a surrogate pair is no text, and no file of the lake can hold it
    return tags


def is_tags_text(text: str) -> bool:
    """Is the text exactly as `tags_to_text` writes it?"""
    try:
        return tags_to_text(tags_from_text(text)) == text
    except ValueError:
        return False
