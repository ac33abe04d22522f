"""docs/call/clients.md: the results of the matrix's last run."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.project.environments import ROOT

from .commands import COMMANDS
from .matrix import CLIENTS, MODELS, SCENARIOS, Cell, Client, failing, miscounted
from .playing import Result

PAGE = ROOT / "docs/call/clients.md"
HEAD = """\
# Which clients work with the gateway?

{passing} clients below pass every scenario; a client changes nothing but its base URL and key.

Each client is the one that its makers publish. It plays every scenario on
{models}. Then the test compares three counts: the
usage that the client reports to its user, the report of `/usage`, and the models' own ledger. `make test` plays the matrix and
`make client-matrix` writes this page; a test fails where the two differ.

A warning comes from the gateway's header `x-gateway-warning`: the gateway left out or adapted a part of the request. The test reads
it where the client speaks HTTP/1.1 without TLS.

"""


def written(results: Mapping[Cell, Result]) -> str:
    """The page's text."""
    notes: list[str] = []
    lines = ["| scenario | what happens |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in SCENARIOS.items()]
    lines += ["", "| client | version | API | " + " | ".join(SCENARIOS) + " |", "| --- " * (3 + len(SCENARIOS)) + "|"]
    for client in CLIENTS:
        cells = [_scenario(client, scenario, results, notes) for scenario in SCENARIOS]
        lines.append(f"| `{client.package}` | {client.version} | {client.api} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    lines += [
        "",
        "## Coding agents",
        "",
        "| command | version | how it is pointed at the gateway |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{command.package}` | {command.version} | {command.how} |" for command in COMMANDS]
    models = " and on ".join(f"{name} (`{model}`)" for name, model in MODELS.items())
    return HEAD.format(passing=_passing(results), models=models) + "\n".join(lines) + "\n"


def _passing(results: Mapping[Cell, Result]) -> str:
    """How many clients have no fault in any scenario, by their packages."""
    packages = {client.package for client in CLIENTS}
    failed = {cell.client.package for cell, result in results.items() if result.faults}
    return f"{len(packages - failed)} of the {len(packages)}" if failed else f"All {len(packages)}"


def _scenario(client: Client, scenario: str, results: Mapping[Cell, Result], notes: list[str]) -> str:
    """`yes` where both models agree, else a word for each; numbers lead to the notes."""
    words = {}
    for model in MODELS:
        cell = Cell(client, scenario, model)
        result = results[cell]
        word, note = "yes", miscounted(cell)
        if result.faults:
            word, note = "no", failing(cell) or result.faults[0]
        elif result.warnings:
            word, note = "with a warning", "; ".join(filter(None, [*result.warnings, note]))
        if note and note not in notes:
            notes.append(note)
        words[model] = f"{word} ({notes.index(note) + 1})" if note else word
    if len(set(words.values())) == 1:
        return words.popitem()[1]
    return ", ".join(f"{model} {word}" for model, word in words.items())
