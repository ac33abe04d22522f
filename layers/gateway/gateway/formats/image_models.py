"""Image models: what they are asked for, and by which class a picture is priced."""

from __future__ import annotations

import re
from typing import Any

from gateway.calls.token_bounds import count_of
from gateway.usage.records import image_class

Json = dict[str, Any]
IMAGE_MODELS = re.compile(r"stability\.|amazon\.(titan-image|nova-canvas)")


def number(value: Any, default: int) -> int:
    """A number of a request, rounded up; what is none counts as the default and is the model's to refuse."""
    count = None if isinstance(value, bool) else count_of(value)
    return default if count is None else count


def stability_class(body: Json) -> str:
    """Stable Diffusion's class: its size (1024 by default) and its steps, premium above 50."""
    size = number(body.get("width"), 1024), number(body.get("height"), 1024)
    return image_class(*size, premium=number(body.get("steps"), 30) > 50)


def titan_class(body: Json) -> str:
    """Titan's and Nova's class: size (1024 by default) and quality of imageGenerationConfig."""
    config = body.get("imageGenerationConfig")
    config = config if isinstance(config, dict) else {}
    size = number(config.get("width"), 1024), number(config.get("height"), 1024)
    return image_class(*size, premium=config.get("quality") == "premium")
