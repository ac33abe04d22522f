"""The source of usage and the store of costs: protocols that the adapters implement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.costs.cost_lines import CostLine, DayCosts, RowKey
from gateway.costs.pricer import Pricer
from gateway.costs.usage_files import UsageFile, older_hour
from gateway.usage.ledger import Partition
from gateway.usage.records import UsageRecord


class QuarantinedRow(NamedTuple):
    """A ledger row that could not be read: its key, the reason, and its content as text."""

    pk: str
    sk: str
    reason: str
    item: str


class WrittenFile(NamedTuple):
    """The number of rows in a usage file, and the number of unreadable rows."""

    rows: int
    quarantined: int


class CorruptPart(Exception):
    """A file of the lake that cannot be read."""

    def __init__(self, key: str):
        super().__init__(f"{key} cannot be read")
        self.key = key
        self.usage_file = UsageFile.at(key)
        self.older_hour = older_hour(key)


class Source(Protocol):
    """The ledger as the source of the lake. Implemented by `gateway.aws.dynamodb.ledger`."""

    def pages(self, partition: Partition) -> Iterator[bytes]:
        """A partition's rows, page by page, in DynamoDB's own JSON."""

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[UsageRecord | QuarantinedRow]:
        """A partition's rows, each as a record, or with the reason why it is unreadable."""


class Lake(Protocol):
    """The Parquet files. Implemented by `gateway.aws.lake.usage_and_costs`.

    `replace_*` take a function that makes the content: if another run writes first, the content is made again, so a
    file never returns to an older state of the ledger. Methods that read files raise CorruptPart.
    """

    def replace_usage(
        self, file: UsageFile, pricer: Pricer, pages: Callable[[], Iterable[bytes]], not_after: datetime
    ) -> WrittenFile:
        """Write a usage file, if there is any row, and put unreadable rows into quarantine."""

    def replace_costs(self, day: str, costs: Callable[[DayCosts | None], DayCosts]) -> int:
        """Write the costs of a day, computed from the existing ones, and return the number of lines."""

    def has_costs_as_written(self, day: str) -> bool:
        """Are the costs of a day unchanged since a run wrote them, even if that run did not finish?"""

    def set_aside(self, part: CorruptPart, *, lost: bool) -> None:
        """Move an unreadable file out of the way. If its rows are lost (`lost`), record that in quarantine."""

    def is_whole(self, day: str) -> bool:
        """Is the usage of a day complete, without a lost file?"""

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        """All usage of a day, summed by group; a group may come in several lines."""

    def settled_usage(self, file: UsageFile) -> Iterator[CostLine]:
        """A usage file's rows except open ones, summed by group; a group may come in several lines."""

    def rows(self, file: UsageFile, *, only_open: bool) -> set[RowKey]:
        """The keys of the rows in a usage file."""

    def quarantined(self, file: UsageFile) -> set[tuple[str, str]]:
        """The keys of a usage file's unreadable rows."""

    def usage_files(self, period: str) -> Mapping[str, str]:
        """The usage files of an hour or a day: their keys and ETags."""

    def costs_files(self, day: str) -> Mapping[str, str]:
        """The costs files of a day: their keys and ETags."""

    def count(self, hour: str) -> int:
        """The number of rows in the usage files of an hour."""

    def priced_otherwise(self, key: str, pricer: Pricer) -> bool:
        """Would any row of a usage file have another cost under this price book?"""

    def older_rows(self, keys: Iterable[str]) -> set[RowKey]:
        """The keys of the readable rows in files of the older layout."""

    def drop_older(self, hour: str) -> None:
        """Delete an hour's files of the older layout, and their quarantine files."""

    def costs_of_day(self, day: str) -> Iterator[CostLine]: ...
