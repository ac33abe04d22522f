"""What has to hold of a deployed stack."""

from __future__ import annotations


class Broken(Exception):
    """Something that had to hold does not."""


def hold(truth: bool, sentence: str) -> None:
    if not truth:
        raise Broken(sentence)
