"""docs/reference/events-and-metrics.md: `python -m scripts.generate.events_and_metrics [--check]`.

The script reads alarms, rules and topics from template.yaml. The gateway's code sends the events to a fake bus, which
records them. The script reads the names of metrics from the code, and explains them here.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, MagicMock, patch

from gateway.aws import decoys, events
from gateway.budgets.thresholds import ThresholdCrossed
from gateway.calls.metering import UnpricedUsageNotice
from gateway.costs.anomalies import CostAnomaly
from gateway.costs.forecasts import BudgetForecast, Forecast
from gateway.tenancy.keys import Key
from gateway.usage.records import KeyId, ModelId, TenantId
from scripts.generate.errors import Sources
from scripts.generate.pages import cell, head, table, write_or_check
from scripts.project.template import ROOT, load, of_type

PAGE = ROOT / "docs/reference/events-and-metrics.md"
NAMESPACE = "ModelGateway/STACK"
OWN = "ModelGateway/"
ACME, NOVEMBER = TenantId("acme"), "2026-11"


@dataclass(frozen=True)
class Metric:
    unit: str
    by: str
    means: str


METRICS = {
    "CallDuration": Metric("milliseconds", "model_id", "The time of a call that succeeded."),
    "TimeToFirstToken": Metric("milliseconds", "model_id", "The time to the first token of a stream."),
    "TimePerOutputToken": Metric("milliseconds", "model_id", "The time per token after the first of a stream."),
    "DayCostUsd": Metric("USD", "service, model_id", "The cost of a day so far, in total and by model; the largest value of a day is its cost."),
    "UnpricedUsage": Metric("count", "service", "Calls of models without a price, or hours with such calls."),
    "ModelNotEnabled": Metric("count", "service", "Calls that Bedrock refused because the account has not enabled the model."),
    "OldestOpenRowAge": Metric("seconds", "service", "The age of the oldest call that is neither settled nor swept."),
    "AggregationLagHours": Metric("hours", "service", "The time between the newest hour in the costs and now."),
    "QuarantinedRows": Metric("count", "service", "Unreadable or implausible ledger rows, and lost files of the lake."),
    "ReconciliationOff": Metric("count", "service", "Days whose ledger differs from AWS's record by more than the tolerance."),
    "AuthorizerFailed": Metric("count", "service", "Failures of the authorizer; a wrong key does not count."),
    "DecoyKeyUsed": Metric("count", "service", "Uses of decoy keys."),
}  # fmt: skip
MEANINGS = {
    "Budget threshold passed": "Spending has passed a threshold of a tenant's or a cost centre's monthly budget.",
    "Unpriced usage parked": "A tenant uses a model without a price, and its budget reserves the highest price for it.",
    "Cost anomaly": "A tenant spent far more, or far less, on a day than in its own past.",
    "Month forecast above budget": "A month is expected to end above its budget.",
    "Decoy key used": "A caller has used a decoy key, which no caller should know.",
}


def sent() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event of the code, as the bus receives it."""
    made = Forecast(
        ACME, "research", date(2026, 11, 23), NOVEMBER, Decimal(700), Decimal(1100), Decimal(950), Decimal(1300), 56
    )
    quiet = {"logger": DEFAULT, "settings": DEFAULT}
    bus = MagicMock()
    bus.put_events.return_value = {"FailedEntryCount": 0}
    with (
        patch.multiple(events, client=lambda _: bus, **quiet),
        patch.multiple(decoys, client=lambda _: bus, count=DEFAULT, **quiet),
    ):
        events.warn(ThresholdCrossed(ACME, "research", NOVEMBER, 80, Decimal(1000), Decimal(801)))
        events.warn(UnpricedUsageNotice(ACME, ModelId("new-model"), "us-east-1", "2026-11-24", Decimal("0.5")))
        events.announce(CostAnomaly(ACME, date(2026, 11, 23), Decimal(90), Decimal(10), Decimal("7.1"), 8))
        events.announce(BudgetForecast(made, Decimal(1000)))
        decoys.alarm(Key(KeyId("k1"), ACME, "", "left in a wiki", datetime.now(UTC)), "203.0.113.7")
    entries = [call.kwargs["Entries"][0] for call in bus.put_events.call_args_list]
    for entry in entries:
        yield entry["DetailType"], json.loads(entry["Detail"])


def measured(code: Sources) -> set[str]:
    """The names of the metrics that the code writes."""
    functions = {"count": 0, "measure": 0, "write_metrics": 0}
    found: set[str] = set()
    for tree in code.trees.values():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in functions
                and node.args
            ):
                first = node.args[0]
                names = first.keys if isinstance(first, ast.Dict) else [first]
                found |= {name for part in names if isinstance(name := code.value(part), str)}
    return found | {text for text in code.texts() if text in METRICS}


def page(template: Mapping[str, Any]) -> Iterator[str]:
    yield from head(
        "Which alarms, events and metrics does the gateway send?", "template.yaml and the code", "events_and_metrics"
    )
    yield "Alarms and failed runs go to the SNS topic `AlarmTopic`, to which `AlarmEmail` subscribes. Passed budget thresholds"
    yield "also go to `BudgetTopic`. Everything else is an event for your own rules, or a metric."
    yield from ("", "## Alarms", "")
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    yield from table(
        ("alarm", "meaning and remedy", "raised when"),
        [(f"`{name}`", cell(alarm["AlarmDescription"]), _when(alarm)) for name, alarm in alarms.items()],
    )
    yield from ("", "## Events", "")
    yield "The gateway sends events to the account's default bus, with the source `model-gateway` and the stack's ARN in"
    yield "`resources`. Amounts are exact decimal strings in USD. It sends each event once, unless the sender dies meanwhile."
    yield ""
    yield from table(
        ("detail-type", "meaning", "detail"),
        [(f"`{kind}`", MEANINGS[kind], f"`{json.dumps(detail)}`") for kind, detail in sent()],
    )
    yield from ("", "## Rules and notices", "")
    yield "These rules of the stack forward an event to a topic."
    yield ""
    rules = of_type(template, "AWS::Events::Rule")
    yield from table(
        ("rule", "event", "to"),
        [(f"`{name}`", cell(rule["Description"]), _targets(rule)) for name, rule in rules.items()],
    )
    yield from ("", "## Metrics", "")
    yield f"The namespace is `{NAMESPACE}`. Functions write metrics as log lines (embedded metric format). `service` is always"
    yield "`model-gateway`."
    yield ""
    yield from table(
        ("metric", "unit", "dimensions", "meaning"),
        [(f"`{name}`", metric.unit, metric.by, metric.means) for name, metric in METRICS.items()],
    )


def _when(alarm: Mapping[str, Any]) -> str:
    metrics = [alarm] if "MetricName" in alarm else [m["MetricStat"]["Metric"] for m in alarm["Metrics"][1:]]
    names = ", ".join(dict.fromkeys(f"`{_namespace(m['Namespace'])}` {m['MetricName']}" for m in metrics))
    period = alarm.get("Period") or alarm["Metrics"][1]["MetricStat"]["Period"]
    statistic = alarm.get("Statistic") or alarm["Metrics"][1]["MetricStat"]["Stat"]
    sign = {"GreaterThanOrEqualToThreshold": "≥", "LessThanThreshold": "<"}[alarm["ComparisonOperator"]]
    times, needed = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    often = "" if times == 1 else f", {needed} of {times} times" if needed != times else f", {times} times"
    missing = "; also without data" if alarm["TreatMissingData"] == "breaching" else ""
    return f"{names}: {statistic.lower()} {sign} {_value(alarm['Threshold'])} in {_span(period)}{often}{missing}"


def _namespace(said: Any) -> str:
    return NAMESPACE if isinstance(said, Mapping) else str(said)


def _value(said: Any) -> str:
    return f"`{said['Ref']}`" if isinstance(said, Mapping) else str(said)


def _span(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 60} min"


def _targets(rule: Mapping[str, Any]) -> str:
    return ", ".join(f"`{target['Arn']['Ref']}`" for target in rule["Targets"])


def alarmed(template: Mapping[str, Any]) -> set[str]:
    """The gateway's own metrics in alarms and the dashboard."""
    text = json.dumps({name: template["Resources"][name] for name in template["Resources"]})
    named = set(re.findall(r'MetricName=\\+"(\w+)', text)) & METRICS.keys()
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        for metric in [alarm, *(m["MetricStat"]["Metric"] for m in alarm.get("Metrics", ())[1:])]:
            if OWN in json.dumps(metric.get("Namespace")):
                named.add(metric["MetricName"])
    return named


def files() -> dict[Path, str]:
    return {PAGE: "\n".join(page(load(ROOT / "template.yaml"))) + "\n"}


def main() -> int:
    return write_or_check(files(), "template.yaml and the code", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
