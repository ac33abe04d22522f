"""SCIM 2.0 (RFC 7643 and 7644): users of a directory, in the forms that Microsoft Entra ID and Okta send.

A user here is a dictionary of FIELDS, which are all that the gateway keeps. Other attributes of the standard's user are
accepted and dropped; attributes that are in no standard are refused, since a misspelt `active` must not pass for done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.errors import BadRequestError, GatewayError

MEDIA_TYPE = "application/scim+json"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_CORE = "urn:ietf:params:scim:schemas:core:2.0:"
_ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
MOST_OPERATIONS = 100
MOST_RESULTS = 100

FIELDS = ("user_name", "external_id", "display_name", "email", "active")
_TEXTS = {"username": "user_name", "externalid": "external_id", "displayname": "display_name"}
# Of RFC 7643, and not kept.
_DROPPED = {
    "schemas", "meta", "name", "nickname", "profileurl", "title", "usertype", "preferredlanguage", "locale", "timezone",
    "password", "phonenumbers", "ims", "photos", "addresses", "groups", "entitlements", "roles", "x509certificates",
    _ENTERPRISE,
}  # fmt: skip
_FILTER = re.compile(r'\s*(userName|externalId|id)\s+eq\s+"((?:[^"\\]|\\.)*)"\s*', re.IGNORECASE)
_SCIM_TYPES = {
    "user_exists": "uniqueness",
    "invalid_user": "invalidValue",
    "invalid_filter": "invalidFilter",
    "invalid_patch": "invalidPath",
    "invalid_body": "invalidSyntax",
}


# ------------------------------------------------------------------------------------------------------------ reading
def user_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a whole resource, as POST and PUT send it. Raises BadRequestError."""
    found = _set({}, "", resource)
    if not found.get("user_name"):
        raise _invalid("userName: send one.")
    return found


def patched(user: Mapping[str, Any], operations: Sequence[Any]) -> dict[str, Any]:
    """The fields after the operations of a PATCH, in order. Raises BadRequestError."""
    if not 0 < len(operations) <= MOST_OPERATIONS:
        raise _wrong(f"Operations: send 1 to {MOST_OPERATIONS}.")
    found = dict(user)
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise _wrong("Operations: each must be an object.")
        said = {str(name).lower(): value for name, value in operation.items()}
        op, path = str(said.get("op")).lower(), said.get("path") or ""
        if not isinstance(path, str):
            raise _wrong("path: must be text.")
        if op in ("add", "replace"):
            found = _set(found, path, said.get("value"))
        elif op == "remove":
            found = _removed(found, path)
        else:
            raise _wrong("op: must be add, replace or remove.")
    if not found.get("user_name"):
        raise _invalid("userName: every user has one.")
    return found


def named_in(text: str) -> tuple[str, str]:
    """The attribute of a filter in lower case, and its value. Raises BadRequestError."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise BadRequestError(
            'filter: supported are userName, externalId and id with eq, as in userName eq "ann@example.com".',
            code="invalid_filter",
        )
    return match[1].lower(), re.sub(r"\\(.)", r"\1", match[2])


def _set(user: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The fields after setting an attribute; without a path, each attribute of the value."""
    if not path:
        if not isinstance(value, Mapping):
            raise _invalid("value: without a path it must be an object of attributes.")
        found = dict(user)
        for name, each in value.items():
            if each is not None:
                found = _set(found, str(name) or "?", each)
        return found
    attribute = _attribute(path)
    if attribute in _TEXTS:
        return {**user, _TEXTS[attribute]: _text(path, value)}
    if attribute == "active":
        return {**user, "active": _flag(value)}
    if attribute == "emails":
        return {**user, "email": _email(path, value)}
    return dict(user)


def _removed(user: Mapping[str, Any], path: str) -> dict[str, Any]:
    attribute = _attribute(path) if path else ""
    if attribute in ("", "active", "username"):
        raise _wrong("path: remove names one attribute, and never userName or active.")
    field = "email" if attribute == "emails" else _TEXTS.get(attribute)
    return {name: value for name, value in user.items() if name != field}


def _attribute(path: str) -> str:
    """The attribute of a path in lower case: `emails` of `emails[type eq "work"].value`. Raises BadRequestError."""
    plain = path.strip().lower()
    if plain.startswith(_ENTERPRISE):
        return _ENTERPRISE
    plain = plain.removeprefix(USER.lower()).removeprefix(":")
    attribute = re.split(r"[\[.]", plain, maxsplit=1)[0]
    if attribute in ("id", *_DROPPED, *_TEXTS, "active", "emails"):
        return attribute
    raise _wrong(f"{path[:64]}: no attribute of a user.")


def _text(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{path}: must be text.")
    return value.strip()


def _flag(value: Any) -> bool:
    """Entra ID sends booleans as text, and in its older form as a list of one value."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        value = value[0].get("value")
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _invalid("active: must be true or false.")
    return value


def _email(path: str, value: Any) -> str:
    """The primary address of a list, else its first; or the address itself."""
    if isinstance(value, str):
        return value.strip()
    several = value if isinstance(value, list) else [value]
    addresses = [each for each in several if isinstance(each, Mapping) and isinstance(each.get("value"), str)]
    if len(addresses) < len(several):
        raise _invalid(f"{path}: must be a list of objects with a value.")
    primary = [each for each in addresses if str(each.get("primary")).lower() == "true"]
    return next((str(each["value"]).strip() for each in (*primary, *addresses)), "")


def _invalid(sentence: str) -> BadRequestError:
    return BadRequestError(sentence, code="invalid_user")


def _wrong(sentence: str) -> BadRequestError:
    return BadRequestError(sentence, code="invalid_patch")


# ------------------------------------------------------------------------------------------------------------ writing
def resource_of(user: Mapping[str, Any], user_id: str, created: str, changed: str, address: str) -> dict[str, Any]:
    """A user as a resource, with its own address."""
    values = {
        "userName": user.get("user_name") or user_id,
        "externalId": user.get("external_id"),
        "displayName": user.get("display_name"),
        "emails": [{"value": user["email"], "primary": True}] if user.get("email") else None,
        "active": user["active"],
    }
    return {
        "schemas": [USER],
        "id": user_id,
        **{name: value for name, value in values.items() if value not in (None, "")},
        "meta": {"resourceType": "User", "created": created, "lastModified": changed, "location": address},
    }


def listed(resources: Sequence[Any], start: int = 1, count: int = MOST_RESULTS) -> dict[str, Any]:
    """A list, from the `start`-th on. RFC 7644 counts from 1, and takes less for 1."""
    first = max(start, 1)
    page = list(resources[first - 1 : first - 1 + max(0, min(count, MOST_RESULTS))])
    return {
        "schemas": [LIST],
        "totalResults": len(resources),
        "startIndex": first,
        "itemsPerPage": len(page),
        "Resources": page,
    }


def error_of(error: GatewayError, request_id: str, details: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """An error as SCIM tells it, with the fields of the gateway's problems beside."""
    kind = {"scimType": _SCIM_TYPES[error.code]} if error.code in _SCIM_TYPES else {}
    body = {"schemas": [ERROR], "status": str(error.status), **kind, "detail": error.message}
    body |= {"code": error.code, "message": error.message, "request_id": request_id}
    return body | ({"details": list(details)} if details else {})


def provider() -> dict[str, Any]:
    """The features of this server (RFC 7643, section 5)."""
    no = {"supported": False}
    return {
        "schemas": [f"{_CORE}ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST_RESULTS},
        "changePassword": no,
        "sort": no,
        "etag": no,
        "authenticationSchemes": [
            {"type": "oauthbearertoken", "name": "Bearer", "primary": True,
             "description": "A key with the role tenant-admin."},
        ],
    }  # fmt: skip


def resource_types() -> list[dict[str, Any]]:
    kind = {"id": "User", "name": "User", "endpoint": "/Users", "schema": USER}
    return [{"schemas": [f"{_CORE}ResourceType"], **kind}]


def schemas() -> list[dict[str, Any]]:
    """The schema of a user: the attributes that are kept."""
    return [{"schemas": [f"{_CORE}Schema"], "id": USER, "name": "User", "attributes": list(_attributes())}]


def _attributes() -> Iterator[dict[str, Any]]:
    for name, kind in (
        ("userName", "string"),
        ("externalId", "string"),
        ("displayName", "string"),
        ("active", "boolean"),
    ):
        yield _described(name, kind, required=name == "userName", unique=name != "displayName" and kind == "string")
    address = [_described("value", "string"), _described("primary", "boolean")]
    yield {**_described("emails", "complex"), "multiValued": True, "subAttributes": address}


def _described(name: str, kind: str, *, required: bool = False, unique: bool = False) -> dict[str, Any]:
    return {
        "name": name, "type": kind, "multiValued": False, "required": required, "caseExact": False,
        "mutability": "readWrite", "returned": "default", "uniqueness": "server" if unique else "none",
    }  # fmt: skip
