"""Alarms fire in time: before a failing release gets all requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from scripts.project.template import ROOT
from tests.contract.contract import TEMPLATE
from tests.contract.expanded import of_kind, stack

# API Gateway "sends metric data to CloudWatch every minute" (its developer guide, "Amazon API Gateway dimensions and
# metrics"), and so does Lambda; and CloudWatch looks at an alarm of a minute or more once a minute (its user guide,
# "Alarm evaluation").
SENT_AFTER, LOOKED_AT_AFTER = 60, 60
GUARDS = ("ApiErrorsAlarm", "RequestErrorsAlarm")
# The share of requests that a release begins with, by the names of CodeDeploy's configurations for Lambda.
FIRST_SHARE = 0.1
each_guard = pytest.mark.parametrize("guard", GUARDS)


def alarm(name: str) -> dict[str, Any]:
    said: dict[str, Any] = of_kind(stack(), "AWS::CloudWatch::Alarm")[name]
    return said


def periods(said: dict[str, Any]) -> Iterator[int]:
    yield from [one["MetricStat"]["Period"] for one in said.get("Metrics", ()) if "MetricStat" in one] or [
        said["Period"]
    ]


def detection(said: dict[str, Any]) -> int:
    """Seconds from a release's first failing request to its alarm, at worst.

    A period that has begun may hold too few of them to count, so as many as are needed follow it; then the last of them
    is sent, and looked at.
    """
    (period,) = set(periods(said))
    needed = said.get("DatapointsToAlarm", said["EvaluationPeriods"])
    return int(period + needed * period + SENT_AFTER + LOOKED_AT_AFTER)


def taken_over(how: str) -> int:
    """Seconds from a release's first request to its having all of them; CodeDeploy's configurations say it by their names.

    A canary has a tenth until its time is over. A linear one has a tenth at once, and each further tenth after its time.
    """
    if found := re.fullmatch(r"Canary10Percent(\d+)Minutes", how):
        return int(found[1]) * 60
    found = re.fullmatch(r"Linear10PercentEvery(\d+)Minutes?", how)
    assert found, how
    return 9 * int(found[1]) * 60


GRADUAL = [how for how in TEMPLATE["Parameters"]["Deployment"]["AllowedValues"] if how != "AllAtOnce"]


@each_guard
@pytest.mark.parametrize("how", GRADUAL)
def test_an_alarm_brings_a_release_back_before_it_has_all_requests(guard: str, how: str) -> None:
    assert detection(alarm(guard)) < taken_over(how)


def test_a_deployment_that_would_be_over_before_its_alarms_cannot_be_chosen() -> None:
    assert max(detection(alarm(guard)) for guard in GUARDS) >= taken_over("Canary10Percent5Minutes")
    assert "Canary10Percent5Minutes" not in GRADUAL
    assert TEMPLATE["Mappings"]["Deployments"].keys() == {*GRADUAL, "AllAtOnce"}


def test_a_release_that_fails_every_request_fails_enough_of_them_for_the_alarm() -> None:
    """It has a tenth of them at first, and the alarm averages over all."""
    said = alarm("ApiErrorsAlarm")
    assert (said["Statistic"], said["ComparisonOperator"]) == ("Average", "GreaterThanOrEqualToThreshold")
    assert said["Threshold"] <= FIRST_SHARE


@each_guard
def test_an_alarm_that_brings_a_release_back_is_not_raised_by_silence(guard: str) -> None:
    assert alarm(guard)["TreatMissingData"] == "notBreaching"


# ---------------------------------------------------------------------------------------------------- what they cost
PAGE = (ROOT / "docs/run/cost-to-run.md").read_text(encoding="utf-8")
IDLE = PAGE.partition("## A month without calls")[2]


def endpoints(network: str = "private", **parameters: str) -> int:
    made = of_kind(stack(Network=network, **parameters), "AWS::EC2::VPCEndpoint").values()
    return sum(endpoint["VpcEndpointType"] == "Interface" for endpoint in made)


def test_the_page_of_costs_counts_what_is_billed_by_the_month() -> None:
    """CloudWatch's price is by "alarm metric", so that an alarm over a sum costs as much as its parts."""
    alarms = of_kind(stack(), "AWS::CloudWatch::Alarm").values()
    watched = sum(len([one for one in said.get("Metrics", ()) if "MetricStat" in one]) or 1 for said in alarms)
    assert f"| {watched} x 0.10 | {watched * Decimal('0.10')} |" in IDLE
    assert f"| {len(of_kind(stack(), 'AWS::CloudWatch::Dashboard'))} x 3.00 | 3.00 |" in IDLE
    with_role = endpoints(TenantRoleArn="arn:aws:iam::210987654321:role/tenants")
    for count in (endpoints(), with_role, endpoints("functions-in-vpc")):
        assert str(count * Decimal("14.60")) in IDLE
    for parameters, word in (({}, "four"), ({"CorsOrigin": "https://a.example"}, "five")):
        (acl,) = of_kind(stack(EnableWaf="true", **parameters), "AWS::WAFv2::WebACL").values()
        assert (len(acl["Rules"]), word in IDLE) == ({"four": 4, "five": 5}[word], True)


def test_the_page_of_costs_adds_up_what_an_idle_gateway_costs() -> None:
    rows = re.findall(r"^\| [^|*]+ \|[^|]*\| ([\d.]+) \|$", IDLE, re.MULTILINE)
    (said,) = re.findall(r"\*\*sum\*\* \| \| \*\*([\d.]+)\*\*", IDLE)
    assert len(rows) == 5
    assert sum(map(Decimal, rows)) == Decimal(said)
