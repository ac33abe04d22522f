"""A simple deterministic token count, shared by bodies, headers, stream metrics and the ledger."""

import hashlib

IMAGE_TOKENS = 258
BYTES_PER_TOKEN = 4
_FILLER = "Every word of this answer is made up, yet every token of it is counted once and only once. "


def count_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes, rounded up, but at least one."""
    return max(1, (len(text.encode()) + 3) // BYTES_PER_TOKEN)


def count_bytes(size: int) -> int:
    """The tokens of `size` bytes of a document."""
    return max(1, (size + 3) // BYTES_PER_TOKEN)


def fingerprint(text: str) -> str:
    """Eight hex digits that identify a prompt."""
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()


def words(opening: str, tokens: int) -> str:
    """A text that begins with `opening` and is exactly `tokens` long."""
    size = tokens * BYTES_PER_TOKEN
    opening = opening.encode("ascii", "replace").decode()
    text = (opening + _FILLER * (max(0, size - len(opening)) // len(_FILLER) + 1))[:size]
    return text[:-1] + "." if text.endswith(" ") else text
