"""InvokeModel's image bodies, with valid images of one bit per pixel, so that a large image is cheap."""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import compress, crc32

from scripts.dev.fake_models.errors import invalid
from scripts.dev.fake_models.tokens import count_tokens, fingerprint

_PREMIUM_STEPS = 50
_SMALL = 512
_INPUT_PICTURES = (
    "image",
    "images",
    "conditionImage",
    "maskImage",
    "init_image",
    "mask_image",
    "mask",
    "referenceImages",
)
_SDXL_STEPS = 30


@dataclass(frozen=True)
class Painting:
    """One request to an image model."""

    prompt: str
    count: int = 1
    width: int = 1024
    height: int = 1024
    premium: bool = False
    seed: int = 0
    input_images: int = 0

    @property
    def image_class(self) -> str:
        """The price class of the images."""
        size = "512x512" if max(self.width, self.height) <= _SMALL else "larger"
        return f"{size}:{'premium' if self.premium else 'standard'}"

    @property
    def tokens(self) -> int:
        return count_tokens(self.prompt)

    def images(self) -> list[str]:
        """The images, as base64 of PNG."""
        return [base64.b64encode(self._paint(index)).decode() for index in range(self.count)]

    def _paint(self, index: int) -> bytes:
        color = bytes.fromhex(fingerprint(f"{self.prompt} {self.seed + index}"))[:3]
        return _png(self.width, self.height, color)


def read_picture(dialect: str, body: dict[str, Any]) -> Painting:
    """Read an image request."""
    given = _count_given(body)
    if dialect == "sdxl":
        return _read_sdxl(body, given)
    if dialect == "sd3":
        return _read_sd3(body, given)
    return _read_titan_image(body, given)


def write_picture(dialect: str, painting: Painting) -> dict[str, Any]:
    """Write the images in the provider's format."""
    images = painting.images()
    seeds = [painting.seed + index for index in range(painting.count)]
    if dialect == "sdxl":
        artifacts = [
            {"seed": seed, "base64": image, "finishReason": "SUCCESS"}
            for seed, image in zip(seeds, images, strict=True)
        ]
        return {"result": "success", "artifacts": artifacts}
    if dialect == "sd3":
        return {"seeds": seeds, "finish_reasons": [None] * painting.count, "images": images}
    return {"images": images, "error": None}


def _read_titan_image(body: dict[str, Any], given: int) -> Painting:
    if "taskType" not in body:
        raise invalid(
            "Malformed input request: #: required key [taskType] not found, please reformat your input and try again."
        )
    config = body.get("imageGenerationConfig") or {}
    count = config.get("numberOfImages", 1)
    if not isinstance(count, int) or not 1 <= count <= 5:
        raise invalid(f"Malformed input request: #/imageGenerationConfig/numberOfImages: {count} is not within 1 to 5")
    task = next((value for key, value in body.items() if key.endswith("Params") and isinstance(value, dict)), {})
    if body["taskType"] == "TEXT_IMAGE" and not task.get("text"):
        raise invalid("Malformed input request: #/textToImageParams: required key [text] not found")
    return Painting(
        task.get("text") or body["taskType"],
        count,
        config.get("width", 1024),
        config.get("height", 1024),
        config.get("quality") == "premium",
        config.get("seed", 0),
        given,
    )


def _read_sdxl(body: dict[str, Any], given: int) -> Painting:
    prompts = body.get("text_prompts")
    if not prompts:
        raise invalid(
            "Malformed input request: #: required key [text_prompts] not found, please reformat your input and try "
            "again."
        )
    return Painting(
        " ".join(prompt["text"] for prompt in prompts),
        body.get("samples", 1),
        body.get("width", 1024),
        body.get("height", 1024),
        body.get("steps", _SDXL_STEPS) > _PREMIUM_STEPS,
        body.get("seed", 0),
        given,
    )


def _read_sd3(body: dict[str, Any], given: int) -> Painting:
    if not body.get("prompt") and not given:
        raise invalid(
            "Malformed input request: #: required key [prompt] not found, please reformat your input and try again."
        )
    wide, _, high = body.get("aspect_ratio", "1:1").partition(":")
    return Painting(
        body.get("prompt") or "an edit of the given image",
        width=1024,
        height=max(64, 1024 * int(high) // int(wide)),
        seed=body.get("seed", 0),
        input_images=given,
    )


def _count_given(body: Mapping[str, Any]) -> int:
    count = 0
    for key, value in body.items():
        if key in _INPUT_PICTURES:
            count += len(value) if isinstance(value, list) else 1
        elif isinstance(value, dict):
            count += _count_given(value)
    return count


def _png(width: int, height: int, color: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", color + bytes(3)), (b"IDAT", _pixels(width, height)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


@lru_cache(maxsize=64)
def _pixels(width: int, height: int) -> bytes:
    return compress(bytes(((width + 7) // 8 + 1) * height), 9)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))
