"""Stores DynamoDB's items as bytes: moto's objects need more than ten times the memory.

A request reads and changes moto's objects, unpacked for this request only. If it succeeds, the changed items are
packed; if it fails, they are discarded. So a table always has the same content as its journal.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType, Item

from scripts.dev.moto_aws.journal import from_json, to_json

Key = Hashable
Attributes = dict[str, dict[str, Any]]
_MOST_SHAPES = 4096


class Seen(Item):
    """A read-only item: moto copies its results in case they change later, and this one does not."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Seen:
        return self


class Packing:
    """Packs attributes into bytes and back. Items with the same names and types share one copy of these."""

    def __init__(self) -> None:
        self._shapes: list[list[list[str]]] = []
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}

    def pack(self, attributes: Attributes) -> bytes:
        shape = tuple((name, kind) for name, value in attributes.items() for kind in value)
        number = self._numbers.get(shape)
        if number is None and len(self._shapes) < _MOST_SHAPES:
            number = self._numbers[shape] = len(self._shapes)
            self._shapes.append([list(each) for each in shape])
        head = [list(each) for each in shape] if number is None else number
        values = [value for typed in attributes.values() for value in typed.values()]
        return json.dumps([head, *values], default=to_json, separators=(",", ":"), ensure_ascii=False).encode()

    def unpack(self, packed: bytes) -> Attributes:
        head, *values = json.loads(packed, object_hook=from_json)
        shape = self._shapes[head] if isinstance(head, int) else head
        return {name: {kind: value} for (name, kind), value in zip(shape, values, strict=True)}


class Rows:
    """The items of one table, in place of moto's dictionaries: `[hash key]`, and below it `[range key]`."""

    def __init__(self, hash_name: str, range_name: str | None):
        self._names = (hash_name, range_name)
        self._packing = Packing()
        self._packed: dict[Key, dict[Key, bytes]] = {}
        self._unpacked: dict[tuple[Key, Key], tuple[dict[str, Any], Item | None]] = {}  # with the item's key

    # ---------------------------------------------------------------------------------------- moto's interface
    def __getitem__(self, hash_key: DynamoType) -> Any:
        return Partition(self, hash_key) if self._names[1] else self.item(hash_key, None)

    def __setitem__(self, hash_key: DynamoType, item: Item) -> None:
        self.set(hash_key, None, item)

    def __contains__(self, hash_key: DynamoType) -> bool:
        try:
            self.item(hash_key, None)
        except KeyError:
            return False
        return True

    def pop(self, hash_key: DynamoType) -> Item:
        return self.remove(hash_key, None)

    # ---------------------------------------------------------------------------------------------- for a request
    def item(self, hash_key: DynamoType, range_key: DynamoType | None) -> Item:
        """The item itself: its changes count if the request succeeds. Raises KeyError."""
        key = (plain(hash_key), plain(range_key))
        if key not in self._unpacked:
            item = self._made(self._packed[key[0]][key[1]], Item)
            self._unpacked[key] = (self._key_of(hash_key, range_key), item)
        found = self._unpacked[key][1]
        if found is None:
            raise KeyError(key)
        return found

    def set(self, hash_key: DynamoType, range_key: DynamoType | None, item: Item) -> None:
        self._unpacked[plain(hash_key), plain(range_key)] = (self._key_of(hash_key, range_key), item)

    def remove(self, hash_key: DynamoType, range_key: DynamoType | None) -> Item:
        """Raises KeyError."""
        item = self.item(hash_key, range_key)
        self._unpacked[plain(hash_key), plain(range_key)] = (self._key_of(hash_key, range_key), None)
        return item

    def keys(self, hash_key: DynamoType | None = None) -> list[tuple[Key, Key]]:
        """The keys of a partition, or of all, in order."""
        if hash_key is None:
            return sorted((pk, sk) for pk, partition in self._packed.items() for sk in partition)
        pk = plain(hash_key)
        return [(pk, sk) for sk in sorted(self._packed.get(pk, ()))]  # type: ignore[type-var]

    def copy(self, key: tuple[Key, Key]) -> Item:
        """A read-only item."""
        return self._made(self._packed[key[0]][key[1]])

    def every(self, text: str | None = None) -> Iterator[Item]:
        """Read-only items; with a text, those with that value, and maybe others."""
        wanted = b"" if text is None else json.dumps(text, ensure_ascii=False).encode()
        for partition in self._packed.values():
            for packed in partition.values():
                if wanted in packed:
                    yield self._made(packed)

    # ------------------------------------------------------------------------------------ commit and rollback
    def changed(self) -> Iterator[tuple[dict[str, Any], tuple[Key, Key], Attributes | None]]:
        """The request's changes: each item's key in both forms, and its present state, or None if it was deleted."""
        for key, (named, item) in self._unpacked.items():
            attributes = None if item is None else item.to_json()["Attributes"]
            packed = None if attributes is None else self._packing.pack(attributes)
            if packed != self._packed.get(key[0], {}).get(key[1]):
                yield named, key, attributes

    def keep(self, key: tuple[Key, Key], attributes: Attributes | None) -> None:
        """Commit a change."""
        if attributes is not None:
            self._packed.setdefault(key[0], {})[key[1]] = self._packing.pack(attributes)
        elif (partition := self._packed.get(key[0])) is not None:
            partition.pop(key[1], None)
            if not partition:
                del self._packed[key[0]]

    def forget(self) -> None:
        """Discard the unpacked items with their changes."""
        self._unpacked.clear()

    def restore(self, attributes: Attributes) -> None:
        """Load an item without repeating the checks of its first write."""
        keys = [plain(DynamoType(attributes[name])) if name else None for name in self._names]
        self.keep((keys[0], keys[1]), attributes)

    def _key_of(self, hash_key: DynamoType, range_key: DynamoType | None) -> dict[str, Any]:
        named = zip(self._names, (hash_key, range_key), strict=True)
        return {name: value.to_json() for name, value in named if name and value}

    def _made(self, packed: bytes, kind: type[Item] = Seen) -> Item:
        attributes = self._packing.unpack(packed)
        hash_key, range_key = (DynamoType(attributes[name]) if name else None for name in self._names)
        assert hash_key is not None
        return kind(hash_key, range_key, attributes)


class Partition:
    """The items of one hash key, by range key."""

    def __init__(self, rows: Rows, hash_key: DynamoType):
        self._rows, self._hash_key = rows, hash_key

    def __getitem__(self, range_key: DynamoType) -> Item:
        return self._rows.item(self._hash_key, range_key)

    def __setitem__(self, range_key: DynamoType, item: Item) -> None:
        self._rows.set(self._hash_key, range_key, item)

    def pop(self, range_key: DynamoType) -> Item:
        return self._rows.remove(self._hash_key, range_key)


def plain(key: DynamoType | None) -> Key:
    """A compact key that compares as fast as its value, with DynamoDB's equality."""
    if key is None:
        return None
    value: Key = key.cast_value
    return value
