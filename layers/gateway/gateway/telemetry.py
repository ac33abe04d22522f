"""The structured log. Nothing that a client sent or a model answered is ever put into it."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger


@cache
def logger() -> Logger:
    return Logger()
