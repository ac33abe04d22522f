"""Every name of moto that the embedded AWS replaces: moto has no other hook for custom tables or clients.

`replace` refuses a name that moto lacks. So after an upgrade that renames one, the stack's start fails and names it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from importlib import metadata
from typing import Any

_LARGEST_ITEM = 405_000  # bytes, moto's value of 400 KB


class PatchedNameError(Exception):
    """moto lacks a name that this module replaces."""

    def __init__(self, owner: str, name: str):
        super().__init__(
            f"moto {metadata.version('moto')} has no {owner}.{name}, which the embedded AWS replaces: "
            "adapt scripts/dev/moto_aws/moto_patches.py to this version."
        )


def named(module: str, name: str = "") -> Any:
    """A module of moto, or a name in it. Raises PatchedNameError."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as absent:
        raise PatchedNameError(*module.rpartition(".")[::2]) from absent
    return present(found, name) if name else found


def present(owner: Any, name: str) -> Any:
    """The value of a name, its owner's own or inherited, but not from `object`. Raises PatchedNameError."""
    owners = [each for each in owner.__mro__ if each is not object] if isinstance(owner, type) else [owner]
    if not any(name in vars(each) for each in owners):
        path = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
        raise PatchedNameError(path, name)
    return getattr(owner, name)


def replace(owner: Any, name: str, replacement: Any) -> None:
    """Set an existing name of a module or a class. Raises PatchedNameError."""
    present(owner, name)
    setattr(owner, name, replacement)


# ---------------------------------------------------------------------------------------------------------- DynamoDB
def patch_tables(table: Any) -> None:
    """Make moto's DynamoDB use this table class. Raises PatchedNameError."""
    models = named("moto.dynamodb.models")
    transact = present(models.DynamoDBBackend, "transact_write_items")

    def transact_write_items(backend: Any, items: list[dict[str, Any]]) -> None:
        table.in_transaction = True
        try:
            transact(backend, items)
        finally:
            table.in_transaction = False

    replace(models, "Table", table)
    replace(models.DynamoDBBackend, "transact_write_items", transact_write_items)
    _weigh_items_once()
    _keep_tokens()
    _forget_objects()


def _weigh_items_once() -> None:
    """moto computes the size of the whole item again for each attribute."""
    kinds = named("moto.dynamodb.models.dynamo_type")
    item, value, attributes = (present(kinds, name) for name in ("Item", "DynamoType", "LimitedSizeDict"))
    too_large = named("moto.dynamodb.exceptions", "ItemSizeTooLarge")

    def weighed(self: Any, hash_key: Any, range_key: Any, attrs: dict[str, Any]) -> None:
        self.hash_key, self.range_key = hash_key, range_key
        self.attrs = attributes({name: value(typed) for name, typed in attrs.items()})
        if self.size() > _LARGEST_ITEM:
            raise too_large

    replace(item, "__init__", weighed)


def _keep_tokens() -> None:
    """moto parses an expression again with each request, though a program has few."""
    tokenizer = named("moto.dynamodb.parsing.expressions", "ExpressionTokenizer")
    tokens = functools.lru_cache(maxsize=1000)(present(tokenizer, "make_list"))
    replace(tokenizer, "make_list", staticmethod(lambda text: list(tokens(text))))


def _forget_objects() -> None:
    """moto lists all objects that it ever created, for a page that the embedded AWS does not serve."""
    model = named("moto.core.common_models", "BaseModel")

    def made(cls: Any, *_: Any, **__: Any) -> Any:
        return super(model, cls).__new__(cls)

    replace(model, "__new__", made)


# ---------------------------------------------------------------------------------------------------- state machines
def patch_state_machines() -> None:
    """Make moto's Step Functions small, fast and able to nest. Imports them: a second. Raises PatchedNameError."""
    _leave_out_ec2()
    _keep_clients()
    mend_nested_executions()


def _leave_out_ec2() -> None:
    """moto's Step Functions import its EC2, which reads lists of all instance types: 80 MB without a use here."""
    utilities = named("moto.utilities.utils")
    load = present(utilities, "load_resource")
    replace(utilities, "load_resource", lambda _: {})
    try:
        named("moto.ec2.models")
    finally:
        utilities.load_resource = load


def _keep_clients() -> None:
    """moto's interpreter creates a new client for every task, which takes longer than the task."""
    name = "boto_client_for"
    make = named("moto.stepfunctions.parser.asl.utils.boto_client", name)
    named("moto.stepfunctions.models")  # imports the modules that copied the name from there
    made: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def kept(region: str, service: str, state_credentials: Any = None) -> Any:
        with lock:
            if (region, service) not in made:
                made[region, service] = make(region=region, service=service, state_credentials=state_credentials)
            return made[region, service]

    for module in list(sys.modules.values()):
        if module is not None and vars(module).get(name) is make:
            replace(module, name, kept)


def mend_nested_executions() -> None:
    """Run `states:startExecution.sync:2` in this process: botocore and moto spell its names differently.

    Once is enough. Imports an interpreter of state machines, which takes a second. Raises PatchedNameError.
    """
    tasks = "moto.stepfunctions.parser.asl.component.state.exec.state_task.service"
    service = named(f"{tasks}.state_task_service_sfn", "StateTaskServiceSfn")
    normalise = present(service, "_normalise_parameters")
    if normalise.__module__ == __name__:
        return

    def parameters(self: Any, parameters: dict[str, Any], *more: Any, **options: Any) -> None:
        normalise(self, parameters, *more, **options)
        _rename(parameters, str.lower)

    def response(self: Any, response: Any, *_: Any, **__: Any) -> None:
        _rename(response, str.upper)

    replace(service, "_normalise_parameters", parameters)
    replace(service, "_normalise_response", response)


def _rename(names: dict[str, Any], first: Callable[[str], str]) -> None:
    for name in list(names):
        value = names.pop(name)
        names[first(name[0]) + name[1:]] = value.isoformat() if isinstance(value, datetime) else value
