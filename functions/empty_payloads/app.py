"""Empties the payloads bucket when its stack is deleted: the custom resource PayloadsEmptied of template.yaml.

It is a separate function, since no function that serves requests may delete objects there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.aws.s3.leftovers import Leftovers
from gateway.core.errors import BadRequestError
from gateway.core.settings import seconds_left, settings
from gateway.web.custom_resource import answer_stack

TELLING = 60  # seconds reserved for the answer to the stack

leftovers = Leftovers(settings().payloads_bucket)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return answer_stack(event, lambda asked: end(asked, context))


def end(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    if event["RequestType"] == "Delete" and not leftovers.is_in_service():
        while leftovers.delete_some():
            if seconds_left(context) < TELLING:
                raise BadRequestError("More payloads remain. Delete the stack again to continue.", code="not_empty_yet")
    return {"PhysicalResourceId": settings().payloads_bucket}
