"""Where usage comes from and where costs go: what the adapters implement."""

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
    """What could not be read: where it lies, why, and what it is, as text."""

    pk: str
    sk: str
    reason: str
    item: str


class WrittenFile(NamedTuple):
    """How many rows of a usage file are in the lake, and how many could not be read."""

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
    """The ledger as the lake is made from it. Implemented by `gateway.aws.dynamodb.ledger`."""

    def pages(self, partition: Partition) -> Iterator[bytes]:
        """Its rows, page by page, in DynamoDB's own JSON."""

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[UsageRecord | QuarantinedRow]:
        """Its rows, one by one, each read, or with the reason why it cannot be."""


class Lake(Protocol):
    """The Parquet files. Implemented by `gateway.aws.lake.usage_and_costs`.

    `replace_*` take a function that makes the content, since a file is made again when another run has overtaken it: a
    file never goes back to an older state of the ledger. What reads raises CorruptPart.
    """

    def replace_usage(
        self, file: UsageFile, pricer: Pricer, pages: Callable[[], Iterable[bytes]], not_after: datetime
    ) -> WrittenFile:
        """Write a usage file, if there is any row, and what of it could not be read."""

    def replace_costs(self, day: str, costs: Callable[[DayCosts | None], DayCosts]) -> int:
        """Write the costs of a day, made from those that are there, and return how many lines there are."""

    def has_costs_as_written(self, day: str) -> bool:
        """Are the costs of a day what a run has written, be it one that did not come to its end?"""

    def set_aside(self, part: CorruptPart, *, lost: bool) -> None:
        """Put a file that cannot be read out of the way. Where its rows are lost with it, that is kept in mind."""

    def is_whole(self, day: str) -> bool:
        """Is no usage of a day lost?"""

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        """All usage of a day, summed by group; a group may come in several lines."""

    def settled_usage(self, file: UsageFile) -> Iterator[CostLine]:
        """What a usage file holds but for its open rows, summed by group; a group may come in several lines."""

    def rows(self, file: UsageFile, *, only_open: bool) -> set[RowKey]:
        """Which rows a usage file holds."""

    def quarantined(self, file: UsageFile) -> set[tuple[str, str]]:
        """The keys of the rows that would be in a usage file if they could be read."""

    def usage_files(self, period: str) -> Mapping[str, str]:
        """Where the usage of an hour or a day lies, and the ETag of each file."""

    def costs_files(self, day: str) -> Mapping[str, str]:
        """Where the costs of a day lie, and the ETag of each file."""

    def count(self, hour: str) -> int:
        """How many rows the usage files of an hour have."""

    def priced_otherwise(self, key: str, pricer: Pricer) -> bool:
        """Would any row of a usage file cost something else by this book?"""

    def older_rows(self, keys: Iterable[str]) -> set[RowKey]:
        """Which rows the files of the older layout at these keys hold, as far as they can be read."""

    def drop_older(self, hour: str) -> None:
        """Delete an hour's files of the older layout, and what was in quarantine beside them."""

    def costs_of_day(self, day: str) -> Iterator[CostLine]: ...
