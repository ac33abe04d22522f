"""An upper bound of a whole body's tokens: every symbol counts, and compressed content is unpacked."""

import base64
import binascii
import io
import json
import re
import zipfile
import zlib
from typing import Any

_PICTURE = 4_784  # Claude's count for its largest image
# Keys of a body that the service reads, not the model.
_SETTINGS = frozenset(
    {"inferenceConfig", "requestMetadata", "serviceTier", "performanceConfig", "guardrailConfig", "max_tokens",
     "anthropic_version", "anthropic_beta", "schemaVersion", "textGenerationConfig", "temperature", "top_p", "stream"}
)  # fmt: skip
_PIECES = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)
_PICTURES = ("iVBORw", "/9j/", "R0lGOD", "UklGR")


def count_whole(body: dict[str, Any]) -> int:
    """The tokens of all content that the model sees."""
    shown = {name: value for name, value in body.items() if name not in _SETTINGS}
    packed: list[str] = []
    text = json.dumps(_without_blobs(shown, packed), ensure_ascii=False)
    return count_pieces(text) + sum(_blob(blob) for blob in packed)


def count_pieces(text: str) -> int:
    """A word is one token, any other symbol too; a character beyond ASCII counts as many tokens as bytes."""
    found = _PIECES.findall(text)
    return sum(1 if piece.isascii() else len(piece.encode(errors="surrogatepass")) for piece in found)


def _without_blobs(value: Any, packed: list[str], name: str = "") -> Any:
    match value:
        case dict():
            return {key: _without_blobs(inner, packed, key) for key, inner in value.items()}
        case list():
            return [_without_blobs(inner, packed) for inner in value]
        case str() if name in ("bytes", "data"):
            packed.append(value)
            return ""
    return value


def _blob(blob: str) -> int:
    """An image counts by its size, a document by its unpacked text."""
    if blob.startswith(_PICTURES):
        return _PICTURE
    try:
        content = base64.b64decode(blob)
    except binascii.Error:
        return count_pieces(blob)
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return sum(count_pieces(archive.read(name).decode(errors="replace")) for name in archive.namelist())
    if content.startswith(b"%PDF"):
        pages = max(1, content.count(b"/Contents"))  # several may share one stream, and each shows it
        return pages * sum(count_pieces(_inflated(stream)) for stream in content.split(b"stream\n")[1:])
    return count_pieces(content.decode(errors="replace"))


def _inflated(stream: bytes) -> str:
    try:
        return zlib.decompressobj().decompress(stream).decode(errors="replace")
    except zlib.error:
        return stream.decode(errors="replace")
