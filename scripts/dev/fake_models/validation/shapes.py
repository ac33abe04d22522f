"""Checks a body against botocore's service model: members, types and bounds."""

import base64
import binascii
import re
from functools import cache, lru_cache
from typing import Any

from botocore.loaders import Loader

from scripts.dev.fake_models.errors import Refusal, invalid

_IN_PATH = {"modelId"}


@cache
def _shapes() -> dict[str, Any]:
    return dict(Loader().load_service_model("bedrock-runtime", "service-2")["shapes"])


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def check_shape(body: Any, shape: str) -> None:
    """Refuse a body that does not match the shape, with the first place that differs."""
    _check(body, shape, "")


def _check(value: Any, name: str, where: str) -> None:
    shape = _shapes()[name]
    if shape.get("document"):
        return
    _KINDS[shape["type"]](value, shape, where)


def _structure(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    given = {name: part for name, part in value.items() if part is not None}
    members = shape["members"]
    for name in given:
        if name not in members:
            raise invalid(
                f"Malformed input request: #{where}: extraneous key [{name}] is not permitted, please reformat your "
                "input and try again."
            )
    if shape.get("union") and len(given) != 1:
        raise invalid(f"The object at {where} must set one of the following keys: {', '.join(members)}.")
    for name in shape.get("required", ()):
        if name not in given and name not in _IN_PATH:
            raise invalid(f"Malformed input request: #{where}: required key [{name}] not found.")
    for name, part in given.items():
        _check(part, members[name]["shape"], f"{where}/{name}")


def _list(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, list):
        raise _wrong(where, "a list")
    _bound(len(value), shape, where)
    for index, part in enumerate(value):
        _check(part, shape["member"]["shape"], f"{where}/{index}")


def _map(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    _bound(len(value), shape, where)
    for name, part in value.items():
        _check(name, shape["key"]["shape"], where)
        _check(part, shape["value"]["shape"], f"{where}/{name}")


def _string(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, str):
        raise _wrong(where, "a string")
    _bound(len(value), shape, where)
    if "enum" in shape and value not in shape["enum"]:
        raise invalid(f"Value '{value}' at '{where}' failed to satisfy constraint: Member must be in {shape['enum']}")
    if "pattern" in shape and not _pattern(shape["pattern"]).fullmatch(value):
        raise invalid(
            f"Value '{value}' at '{where}' failed to satisfy constraint: Member must satisfy regular expression "
            f"pattern: {shape['pattern']}"
        )


def _blob(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, str):
        raise _wrong(where, "base64")
    try:
        _bound(len(base64.b64decode(value, validate=True)), shape, where)
    except binascii.Error:
        raise _wrong(where, "base64") from None


def _number(value: Any, shape: dict[str, Any], where: str) -> None:
    whole = shape["type"] in ("integer", "long")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _wrong(where, "a whole number" if whole else "a number")
    _bound(value, shape, where)


def _boolean(value: Any, _: dict[str, Any], where: str) -> None:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false")


def _bound(size: float, shape: dict[str, Any], where: str) -> None:
    least, most = shape.get("min"), shape.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        raise invalid(f"Value at '{where}' failed to satisfy constraint: it must be from {least} to {most}")


def _wrong(where: str, kind: str) -> Refusal:
    return invalid(f"Malformed input request: #{where}: expected {kind}, please reformat your input and try again.")


_KINDS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "blob": _blob,
    "boolean": _boolean,
    **dict.fromkeys(("integer", "long", "float", "double"), _number),
}
