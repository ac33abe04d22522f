"""The claims of a request: the user and the tags that its client names, read within bounds.

A format states only where its body has them; the rule is here. No claim refuses a call: what does not fit is left out,
and a warning names it. The header is stronger than the body, and the first user that fits is the user.

    user   USER, the form of a key's owner
    tags   MOST_TAGS at most; NAME = VALUE, characters that Bedrock's request metadata and STS session tags both take.
           Two names that differ only in case are one to STS, so the second is left out

The gateway's own names (RESERVED, `aws:…`) cannot be claimed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

USER_HEADER, TAGS_HEADER = "x-gateway-user", "x-gateway-tags"
MOST_TAGS = 10
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]{0,127}\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+=@-]{0,63}\Z")
VALUE = re.compile(r"[A-Za-z0-9_.:/+=@-](?:[A-Za-z0-9 _.:/+=@-]{0,126}[A-Za-z0-9_.:/+=@-])?\Z")
RESERVED = frozenset({"tenant_id", "cost_centre", "request_id", "key_id", "user_id", "user_source"})
_EXAMINED = 50  # pairs of one place; a body may have any number
_SHOWN = 64  # characters of a client's name in a warning

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Claim:
    """The claims of a request as they were sent, the strongest first; each has the field that it was in."""

    users: tuple[tuple[str, Any], ...] = ()
    tags: tuple[tuple[str, tuple[Pair, ...]], ...] = ()

    def __or__(self, weaker: Claim) -> Claim:
        return Claim(self.users + weaker.users, self.tags + weaker.tags)

    @property
    def is_empty(self) -> bool:
        return not (self.users or self.tags)


NO_CLAIM = Claim()


@dataclass(frozen=True)
class ReadClaim:
    """The user and the tags that fit, and warnings of what was left out."""

    user_id: str
    tags: Mapping[str, str]
    warnings: tuple[str, ...]


def claimed_user(field: str, value: Any) -> Claim:
    """The user in one field. A field that says nothing claims nothing."""
    return NO_CLAIM if value is None or value == "" else Claim(users=((field, value),))


def claimed_labels(field: str, value: Any) -> Claim:
    """The labels of an object: its `user_id` names the user, the others are tags."""
    if not isinstance(value, Mapping) or not value:
        return NO_CLAIM
    pairs = tuple((name, text) for name, text in value.items() if name != "user_id")
    tags = Claim(tags=((field, pairs),)) if pairs else NO_CLAIM
    return claimed_user(f"{field}.user_id", value.get("user_id")) | tags


def claim_of_headers(headers: Mapping[str, str]) -> Claim:
    """The claims of the gateway's own headers, which every operation takes; `headers` has lower-case names."""
    user, tags = headers.get(USER_HEADER), headers.get(TAGS_HEADER)
    if not user and not tags:
        return NO_CLAIM
    pairs = tuple(_pairs(tags)) if tags else ()
    return claimed_user(USER_HEADER, (user or "").strip()) | Claim(tags=((TAGS_HEADER, pairs),) if pairs else ())


def _pairs(header: str) -> Iterator[Pair]:
    """`project=apollo,stage=test`; a part without `=` has the value None."""
    for part in header.split(","):
        name, equals, value = part.partition("=")
        if name.strip() or equals:
            yield name.strip(), value.strip() if equals else None


def user_of_coding_agent(value: Any) -> Any:
    """The part of Claude Code's composite id that stays the same: its account, else its device.

    It sends `user_DEVICE_account_ACCOUNT_session_SESSION`, and since version 2.1.78 JSON with `device_id`,
    `account_uuid` and `session_id`; the account may be empty. With the session, each start would be a new user.
    """
    if not isinstance(value, str) or "session" not in value:
        return value
    if value.startswith("{"):
        try:
            parts = json.loads(value)
        except (ValueError, RecursionError):
            return value
        named = [parts.get("account_uuid"), parts.get("device_id")] if isinstance(parts, dict) else []
        return next((name for name in named if isinstance(name, str) and name), value)
    found = _COMPOSITE.match(value)
    return (found[2] or found[1]) if found else value


_COMPOSITE = re.compile(r"user_([A-Za-z0-9-]+?)_account_([A-Za-z0-9-]*)_session_[A-Za-z0-9-]+\Z")


def read_claim(claim: Claim) -> ReadClaim:
    warnings: dict[str, None] = {}
    user_id = _user(claim.users, warnings)
    return ReadClaim(user_id, _tags(claim.tags, warnings), tuple(warnings))


def _user(users: Iterable[tuple[str, Any]], warnings: dict[str, None]) -> str:
    for field, sent in users:
        value = user_of_coding_agent(sent)
        if isinstance(value, str) and USER.match(value):
            return value
        form = "1 to 128 letters, digits and _.:@|/+=-, the first a letter or digit"
        warnings[f"{field} was left out of the attribution: a user is {form}"] = None
    return ""


def _tags(places: Iterable[tuple[str, tuple[Pair, ...]]], warnings: dict[str, None]) -> dict[str, str]:
    tags: dict[str, str] = {}
    taken: dict[str, str] = {}  # the place of each name, in lower case
    for field, pairs in places:
        for name, value in pairs[:_EXAMINED]:
            reason = _fault(name, value)
            folded = name.lower() if isinstance(name, str) else ""
            if not reason and folded in taken:
                if taken[folded] != field:
                    continue  # the header has it
                reason = "its name is there twice"
            if not reason and len(tags) == MOST_TAGS:
                reason = f"a call has at most {MOST_TAGS} tags"
            if reason:
                shown = str(name)[:_SHOWN]
                warnings[f"{field}: the tag {shown} was left out of the attribution: {reason}"] = None
            else:
                tags[name], taken[folded] = value, field
        if len(pairs) > _EXAMINED:
            warnings[f"{field}: only its first {_EXAMINED} tags were read"] = None
    return tags


def _fault(name: Any, value: Any) -> str:
    """The reason to leave out a tag; empty for one that fits."""
    if not isinstance(name, str) or not NAME.match(name):
        return "a name is 1 to 64 letters, digits and _.:/+=@-, the first a letter or digit"
    if name.lower() in RESERVED or name.lower().startswith("aws:"):
        return "the gateway sets this name itself"
    if not isinstance(value, str) or not VALUE.match(value):
        return "a value is 1 to 128 letters, digits, inner spaces and _.:/+=@-"
    return ""
