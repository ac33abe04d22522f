"""`gateway`: its help, its JSON, its text without a terminal, its start and its launcher."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from gateway.costs.cost_lines import CostLine
from gateway.costs.periods import MAX_HOURS
from scripts.analytics.synthetic_lake import rows, write
from scripts.generate.price_book import BOOK, read_rows
from scripts.operate.attributed import LATER
from scripts.operate.cli import terminal
from scripts.operate.cli.commands import WithExample
from scripts.operate.cli.gateway import main
from scripts.operate.cli.terminal import print_yaml
from scripts.operate.cli.verification import Steps, verify_deployment
from scripts.operate.statements import costs_in, days_as_json, report
from scripts.operate.tables import Table
from scripts.project import set_up
from scripts.project.template import ROOT
from scripts.project.words import counted
from tests.command_line import commands, parsed

COMMANDS = dict(commands())
LONG = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/" + "a1b2c3d4" * 4
LINE = CostLine(
    "acme", "research", LONG, invocations=3, input_tokens=12_345_678_901, output_tokens=7,
    input_cost=Decimal("12345.000000000001"), output_cost=Decimal("0.5"), cost=Decimal("12345.500000000001"),
)  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    write(folder, rows())
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The one document that a command prints with --json."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


# ---------------------------------------------------------------------------------------------------------------- help
@pytest.mark.parametrize("path", COMMANDS)
def test_help_ends_in_an_example_that_is_read(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[path]
    assert main([*path.split(), "--help"]) == 0
    assert capsys.readouterr().out.endswith(f"\n\nExample:\n  {command.example}\n")
    lexer = shlex.shlex(command.example, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    words = words[: next((at for at, word in enumerate(words) if word in {">", ";", "|"}), len(words))]
    assert words[0] == "gateway"
    context = parsed(words[1:])
    assert context.command_path.startswith(f"gateway {path}".strip())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_says_in_a_sentence_what_it_does(path: str) -> None:
    command = COMMANDS[path]
    first = (command.help or "").partition("\n")[0]
    assert re.fullmatch(r"[A-Z].*\.", first)
    assert len(first) <= 80
    for option in command.params:
        if isinstance(option, click.Option):
            assert re.fullmatch(r"[A-Z].*[.}]\.?", option.help or ""), option.name


@pytest.mark.parametrize("path", [path for path, it in COMMANDS.items() if not isinstance(it, click.Group)])
def test_every_command_has_json(path: str) -> None:
    names = {name for option in COMMANDS[path].params for name in option.opts}
    assert "--json" in names or path == "completion"


def test_a_list_of_commands_shows_each_sentence_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for path, command in COMMANDS.items():
        if isinstance(command, click.Group):
            main([*path.split(), "--help"])
            shown = capsys.readouterr().out
            assert all(name in shown for name in command.commands)
            assert "..." not in shown.partition("Commands:")[2]


def test_a_command_takes_as_many_days_as_a_run_has_room_for() -> None:
    (days,) = [option for option in COMMANDS["backfill"].params if option.name == "days"]
    assert isinstance(days.type, click.IntRange)
    assert days.type.max == MAX_HOURS // 24


# ---------------------------------------------------------------------------------------------------------------- JSON
def test_the_costs_of_a_lake_are_exact_in_json(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = said(capsys, "statements", "days", str(lake))["days"]
    found = costs_in(lake)
    assert [day["day"] for day in days] == sorted(found)
    for day in days:
        known = [line.cost for line in found[day["day"]] if line.cost is not None]
        assert [Decimal(line["cost"]) for line in day["lines"] if line["cost"] is not None] == known
        assert (Decimal(day["total"]["cost"]) if known else day["total"]["cost"]) == (sum(known) if known else None)
        assert day["total"]["invocations"] == sum(line.invocations for line in found[day["day"]])
    assert sum(len(day["lines"]) for day in days) > 5


def test_a_lake_without_a_closed_month_says_so_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verified = said(capsys, "statements", "verify", str(tmp_path))
    assert verified == {"months": [], "statements": 0, "lines": 0, "waiting": 0}
    nothing = said(capsys, "statements", "statement", str(tmp_path), "--month", "2026-10")
    assert nothing == {"month": "2026-10", "statements": []}


def test_the_statement_of_an_open_month_is_exact_in_json(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    month = max(costs_in(lake))[:7]
    statements = said(capsys, "statements", "statement", str(lake), "--month", month)["statements"]
    assert statements
    for it in statements:
        costs = [Decimal(line["cost"]) for line in it["lines"] if line["cost"] is not None]
        assert (it["closed"], Decimal(it["usd"]["total"] or 0)) == (False, sum(costs))


@pytest.mark.parametrize(("by", "names"), [("user", 5), ("key", 2)])
def test_a_statement_is_divided_by_user_or_key_and_the_lines_add_up_to_its_usage(
    lake: Path, capsys: pytest.CaptureFixture[str], by: str, names: int
) -> None:
    """Usage that came after its lines is a line of its own, so that no sum differs."""
    for month in sorted({day[:7] for day in costs_in(lake)}):
        command = "statements", "statement", str(lake), "--month", month, "--by", by
        for it in said(capsys, *command)["statements"]:
            lines = it[f"by_{by}"]
            assert sum(Decimal(line["cost"]) for line in lines) == Decimal(it["usd"]["usage"] or 0)
            calls = sum(line["invocations"] for line in it["lines"] if line["day"][:7] == month)
            assert sum(line["invocations"] for line in lines) == calls
            known = [line for line in lines if line[f"{by}_id"] != LATER]
            assert len(lines) - len(known) <= 1
            assert len(known) >= names
            assert len({(line[f"{by}_id"], line.get("user_source")) for line in known}) == len(known)
        assert main([*command]) == 0
        shown = capsys.readouterr().out
        assert f"by {by}\n" in shown
        assert ("alice" in shown) == (by == "user")


def test_the_book_is_counted_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "prices", "check")
    book = read_rows(BOOK)
    assert (found["wrong"], found["rows"], found["models"]) == ([], len(book), len({row.model_id for row in book}))


def test_a_list_is_compared_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    offer = tmp_path / "offer.json"
    offer.write_text('{"offerCode": "AmazonBedrock", "products": {}, "terms": {"OnDemand": {}}}')
    found = said(capsys, "prices", "diff", "--offer", str(offer))
    assert found == {"read": 0, "changes": [], "left_out": [], "appended": 0}
    places = tmp_path / "places.csv"
    places.write_text("profile,regions\neu.nobody.x,eu-west-1\n")
    found = said(capsys, "prices", "profiles", "--places", str(places))
    assert found["unpriced"] == [{"profile": "eu.nobody.x", "region": "eu-west-1"}]


def test_a_migration_is_a_document_with_its_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configs = tmp_path / "configs.json"
    configs.write_text('[{"STACK_PREFIX": "retail"}, {"VPC_CIDR": "10.0.0.0/16"}]')
    found = said(capsys, "migrate", str(configs), code=1)
    assert "[retail-model-gateway.deploy.parameters]" in found["samconfig"]
    assert any(line.startswith(".venv/bin/gateway tenants add retail") for line in found["commands"])
    assert "unit 2: STACK_PREFIX is not defined" in found["fault"]


def test_an_export_is_counted_in_json(lake: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "costs.csv"
    found = said(capsys, "focus", "export", "--lake", str(lake), "--out", str(out))
    assert found == {"lines": len(out.read_text().splitlines()) - 1, "out": str(out)}
    assert main(["focus", "export", "--lake", str(lake), "--out", str(tmp_path / "none/costs.csv")]) == 1
    assert "is not a folder: create it" in capsys.readouterr().err


def test_amounts_are_text_with_every_decimal() -> None:
    (day,) = days_as_json({"2026-11-24": [LINE]})
    shown = json.loads(json.dumps(day, default=terminal.as_json))
    assert shown["total"]["cost"] == "12345.500000000001"
    assert terminal.as_json(Decimal("1E-12")) == "0.000000000001"


def test_a_file_that_is_cut_off_is_named(lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = next(lake.glob("**/costs/dt=*/part-*.parquet"))
    cut = tmp_path / "costs" / whole.parent.name / whole.name
    cut.parent.mkdir(parents=True)
    cut.write_bytes(whole.read_bytes()[:100])
    assert main(["statements", "days", str(tmp_path)]) == 1
    assert f"{cut} is truncated or not a file of costs" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- figures
def on_a_terminal(columns: int, **environment: str) -> str:
    """A page with long ids and exact money, as a terminal of some width shows it."""
    code = (
        "from tests.unit.scripts.test_cli import LINE; from scripts.operate.cli.terminal import print_page; "
        "from scripts.operate.statements import day_tables; print_page(day_tables({'2026-11-24': [LINE]}))"
    )
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    ours, theirs = pty.openpty()
    given = inherited | {"COLUMNS": str(columns), "TERM": "xterm-256color", "PYTHONPATH": "layers/gateway:."}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=given | environment, stdout=theirs) as running:
        os.close(theirs)
        got = b""
        try:
            while part := os.read(ours, 65536):
                got += part
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert running.returncode == 0
    return got.decode()


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_a_terminal_of_any_width_shows_ids_and_money_whole(columns: int) -> None:
    shown = on_a_terminal(columns)
    assert "\x1b[" in shown
    row = next(line for line in shown.splitlines() if LONG in line)
    assert all(figure in row for figure in ("12345678901", "12345.000000000001", "0.50"))
    assert re.search(r" {5,}3 +12345\.000000000001 ", row)  # numbers stand on the right


def test_no_color_is_kept() -> None:
    shown = on_a_terminal(80, NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", shown)
    assert LONG in shown


def test_text_in_a_pipe_is_as_wide_as_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    days = {"2026-11-24": [LINE]}
    lines = report(days).splitlines()
    assert any(LONG in line and "12345.000000000001" in line for line in lines)
    assert max(map(len, lines)) > 150
    terminal.print_page(["before", Table(("a_id", "n"), [("x", "1")], ("total", "1"))])
    assert capsys.readouterr().out == "before\n\na_id   n\n-----  -\nx      1\n-----  -\ntotal  1\n"


def test_a_bar_is_shown_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.Bar("counting") as bar, bar.hidden():
        bar.update(1, 2)
        print("a line")
    assert capsys.readouterr() == ("a line\n", "")


# --------------------------------------------------------------------------------------------------------------- start
@pytest.mark.parametrize(
    "words", [["--help"], ["tenants", "plan", "--help"], ["completion", "fish"], ["tenants", "pln"]]
)
def test_help_starts_without_an_sdk(words: list[str]) -> None:
    code = (
        "import sys; from scripts.operate.cli.gateway import main; main(sys.argv[1:]); "
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    loaded = set(eval(done.stderr.splitlines()[-1]))
    assert loaded & {"boto3", "botocore", "duckdb", "pyarrow", "pydantic", "requests", "rich", "yaml"} == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_GATEWAY_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_offers_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GATEWAY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gateway tenants pl")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert main([]) == 0
    assert capsys.readouterr().out == "plain,plan\n"


@pytest.mark.parametrize(
    ("begun", "offered"),
    [("ath", ["athena"]), ("athena,ala", ["athena,alarms"]), ("athena,ath", [])],
)
def test_completion_offers_the_steps_that_are_not_named_yet(begun: str, offered: list[str]) -> None:
    found = Steps().shell_complete(click.Context(verify_deployment), verify_deployment.params[0], begun)
    assert [item.value for item in found] == offered


def test_a_number_has_the_noun_of_its_number() -> None:
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert counted(1, "hour is left", "hours are left") == "1 hour is left"


def test_yaml_is_coloured_on_a_terminal_and_the_same_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"tenants": [{"tenant_id": "acme", "name": "Ä" * 200}]}
    print_yaml(document)
    plain = capsys.readouterr().out
    monkeypatch.setattr(terminal, "on_terminal", lambda _stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    print_yaml(document)
    coloured = capsys.readouterr().out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert yaml.safe_load(plain) == document


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A checkout whose environment has this one's packages and the command."""
    project = tmp_path / "a project"
    (project / ".venv/bin").mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in {".venv", ".git", ".dev"}:
            (project / path.name).symlink_to(path)
    environment = Path(sys.prefix)
    for name in ("lib", "pyvenv.cfg"):
        if (environment / name).exists():
            (project / ".venv" / name).symlink_to(environment / name)
    (project / ".venv/bin/python").symlink_to(sys.executable)
    command = project / ".venv/bin/gateway"
    assert set_up.main(["--command", str(command)]) == 0
    return command


def test_the_set_up_installs_a_command_that_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "scripts").mkdir(parents=True)  # somebody's own package of that name is not taken for ours
    (elsewhere / "scripts/__init__.py").write_text("raise SystemExit('not this one')")
    (elsewhere / "configs.json").write_text('[{"STACK_PREFIX": "retail"}]')
    bare = {"PATH": os.environ["PATH"]}
    linked = tmp_path / "gateway"
    linked.symlink_to(installed)
    for command in (installed, linked):
        done = subprocess.run(
            [command, "migrate", "configs.json"], cwd=elsewhere, env=bare, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "retail-model-gateway" in done.stdout


def test_the_set_up_is_a_shell_script_of_posix() -> None:
    done = subprocess.run(["sh", "-n"], input=set_up.COMMAND, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_target_of_make_for_operators_is_an_alias() -> None:
    makefile = (ROOT / "Makefile").read_text()
    names = {name for name in COMMANDS if name and " " not in name} - {
        "completion",
        "connect",
        "focus",
        "migrate",
        "token",
    }
    for name in names:
        assert f"\t@$(BIN)/gateway {name} $(ARGS)\n" in makefile
    assert all(isinstance(command, WithExample) for command in COMMANDS.values())
