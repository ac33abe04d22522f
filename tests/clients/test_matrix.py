"""Popular clients, as published, in every scenario: each one's responses and charges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from scripts.dev.stack import LocalStack
from scripts.project.environments import has_node

from . import page
from .matrix import CELLS, Cell, failing
from .playing import Players, Result
from .tap import Tap

NO_NODE = "There is no Node 20.19, or 22.12 or newer, here: the clients in JavaScript were not played."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("matrix")) as running:
        yield running


@pytest.fixture(scope="module")
def results(stack: LocalStack) -> Mapping[Cell, Result]:
    """The results of all cells that this machine can play: a program starts once for all cells of its client."""
    with Tap(stack.url) as tap:
        return Players(stack, tap).play(cell for cell in CELLS if has_node() or not cell.client.in_node)


def marked(cell: Cell) -> pytest.MarkDecorator | tuple[()]:
    return pytest.mark.xfail(strict=True, reason=failing(cell)) if failing(cell) else ()


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.id, marks=marked(cell)) for cell in CELLS])
def test_a_client_is_answered_and_charged_what_it_used(cell: Cell, results: Mapping[Cell, Result]) -> None:
    if cell not in results:
        pytest.skip(NO_NODE)
    assert results[cell].faults == []


def test_the_page_says_what_was_found(results: Mapping[Cell, Result]) -> None:
    if len(results) < len(CELLS):
        pytest.skip(NO_NODE)
    assert page.PAGE.read_text(encoding="utf-8") == page.written(results), "run `make client-matrix`"


def test_what_the_clients_were_answered_fits_the_spec(stack: LocalStack, results: Mapping[Cell, Result]) -> None:
    assert results
    assert (stack.data / "logs/contract.log").read_text() == ""
