"""Each release renders the same page for the same statement: the manifest of a closed month has its hash.

The code before the template rendered the pages in tests/data/statements.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.costs.cost_lines import MONEY, RESTATEMENT, CostLine
from gateway.statements.html import to_html
from gateway.statements.statement import DatedLine, Statement, closes_at

PAGES = Path(__file__).parents[2] / "data" / "statements"
MONTH, CLOSES = "2026-02", closes_at("2026-02", 3)
ODD = """R&D's "<own>" models"""


def line(day: str, cost: str | None, tenant: str = "acme", model: str = "maker.model-v1:0", **more: Any) -> DatedLine:
    amount = None if cost is None else Decimal(cost)
    used = CostLine(tenant, "research", model, 3, input_tokens=1234, output_tokens=56, price_version="book-1")
    money = dict.fromkeys(MONEY, amount)
    return DatedLine(day, replace(used, **(money | more)))


def restated(day: str, cost: str | None, **more: Any) -> DatedLine:
    return line(day, cost, line_kind=RESTATEMENT, restated_at=datetime.fromisoformat("2026-02-20T05:10+00:00"), **more)


PLAIN = Statement.of("acme", MONTH, CLOSES, [line("2026-02-01", "1.5")])
EVERYTHING = Statement.of(
    ODD,
    MONTH,
    CLOSES,
    [
        line("2026-02-01", "0.000000000002", ODD, ODD, cost_centre=ODD, price_version="<a>+b'"),
        line("2026-02-02", "12.25", ODD, unpriced_invocations=1, cache_read_tokens=9, cache_write_5m_tokens=8),
        line("2026-02-03", None, ODD, "maker.image-v1:0", unsettled_invocations=2_000, images=4, input_images=-1),
        line("2026-02-28", "-3.1", ODD, failed_invocations=5, open_invocations=1, cache_write_1h_tokens=7),
        restated("2026-01-31", "-0.5", tenant=ODD, model=ODD, cost_centre=ODD),
        restated("2026-01-30", None, tenant=ODD, invocations=-1),
        line("2026-01-29", "2", ODD, list_cost=Decimal("2.5")),
    ],
)
LARGE = Statement.of("acme", MONTH, CLOSES, [line("2026-02-14", "1234567.123456"), line("2026-02-15", "-7")])


@pytest.mark.parametrize(
    ("file", "statement", "name", "draft"),
    [
        ("plain.html", PLAIN, "", False),
        ("everything.html", EVERYTHING, 'A "name" & <more> of the tenant\'s', False),
        ("large_draft.html", LARGE, "acme", True),
        ("empty.html", Statement.of("acme", MONTH, CLOSES, []), "Acme", False),
    ],
)
def test_a_page_has_the_bytes_that_earlier_releases_gave_it(
    file: str, statement: Statement, name: str, draft: bool
) -> None:
    assert to_html(statement, "0" * 64, name, draft=draft).decode() == (PAGES / file).read_bytes().decode()


def test_only_a_page_that_is_made_needs_jinja() -> None:
    program = "import sys, gateway.statements.close_month; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
