"""langchain-tests' standard suites through langchain-aws and langchain-openai, in the environment of the SDKs.

The table above each suite lists every test that cannot pass, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scripts.dev.stack import LocalStack

from .sdk_environment import SUITES, run_suites, set_up_sdks

# As the suites want to be run: their tests await without a mark, and what they measure is not what is of interest.
OPTIONS = ("--asyncio-mode=auto", "--benchmark-disable", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    set_up_sdks()
    with LocalStack(tmp_path_factory.mktemp("langchain")) as running:
        yield running


@pytest.mark.parametrize(("suite", "passing", "failing"), [("bedrock", 60, 6), ("openai", 110, 5)])
def test_langchains_standard_suites_hold_but_for_what_is_listed(
    stack: LocalStack, suite: str, passing: int, failing: int
) -> None:
    told = {"AWS_EC2_METADATA_DISABLED": "true"}
    last = run_suites(stack, told, *OPTIONS, str(SUITES / f"test_langchain_{suite}.py"))
    counted = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|xfailed|skipped|deselected)", last)}
    assert counted == {"passed": passing, "xfailed": failing}, last


def test_what_langchain_was_answered_fits_the_spec(stack: LocalStack) -> None:
    assert (stack.data / "logs/access.log").stat().st_size
    assert (stack.data / "logs/contract.log").read_text() == ""
