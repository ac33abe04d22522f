"""After a moto upgrade that renames a replaced name, the embedded AWS fails at its start and names it."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from scripts.dev.moto_aws import moto_patches
from scripts.dev.moto_aws.moto_patches import PatchedNameError, patch_tables, replace


class Backend:
    def transact_write_items(self, items: list[Any]) -> None: ...


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """moto's DynamoDB in a version with another name for its tables."""
    models: Any = ModuleType("moto.dynamodb.models")
    models.DynamoDBBackend, models.RenamedTable = Backend, object
    monkeypatch.setitem(sys.modules, models.__name__, models)
    return models


def test_a_renamed_class_is_named_in_a_sentence(stand_in: Any) -> None:
    with pytest.raises(PatchedNameError, match=r"moto [\d.]+ has no moto\.dynamodb\.models\.Table, which") as refused:
        patch_tables(object)
    assert str(refused.value).endswith("adapt scripts/dev/moto_aws/moto_patches.py to this version.")
    assert not hasattr(stand_in, "Table")


def test_a_renamed_module_or_method_is_named_as_well(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PatchedNameError, match=r"has no moto\.core\.no_such_models,"):
        moto_patches.named("moto.core.no_such_models")
    monkeypatch.delattr(Backend, "transact_write_items")
    with pytest.raises(PatchedNameError, match=r"\.Backend\.transact_write_items,"):
        patch_tables(object)


def test_what_every_object_has_is_not_taken_for_a_name_of_moto() -> None:
    with pytest.raises(PatchedNameError, match=r"\.Backend\.__init__,"):
        replace(Backend, "__init__", None)


def test_the_pinned_moto_has_every_name() -> None:
    program = (
        "from scripts.dev.moto_aws.moto_patches import patch_state_machines, patch_tables\n"
        "from scripts.dev.moto_aws.tables import PackedTable\n"
        "patch_tables(PackedTable)\npatch_state_machines()\n"
    )
    # A process of its own: other tests here use moto as it is.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
