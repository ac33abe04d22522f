"""Each command of a page runs unchanged, or is left out by a rule with a reason."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.dev.stack import LocalStack
from tests.command_line import parsed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHOWN = "http://127.0.0.1:8080"  # where the pages have the local stack
# What is not run here, and why. Where it is this project's own, its arguments are read all the same.
NOT_HERE = (
    (r"make (dev|sam-local)\b", "this test's stack is that of `make dev`; test_sam_local.py starts the other"),
    (
        r"make (test|check|lint|types|contract|validate|spec|scan|focus-check|docs|generate|lock|bench|test-lambda)$",
        "CI's",
    ),
    (r"make (build|deploy-local|client|sam-local-check|athena-check)$", "has a test of its own"),
    (r"(.*&& )?(\.venv/bin/)?sam |sam$", "SAM CLI: test_build.py builds; the rest takes an account, or Docker"),
    (r"(export|output\(\)|for )", "a line of the shell for the lines about an account"),
    (r".*(\$\(output |\baws )", "asks AWS; tests/contract/test_first_deployment.py reads the words"),
    (r".*(--stack|--url|--state-machine|s3://|gateway (verify-deployment|redrive))", "asks a deployed gateway"),
    (r"curl -O https://pricing|.*gateway prices .*index\.json", "AWS's own price list, which is not here"),
    (r"curl .*127\.0\.0\.1:3000|.*:3000/", "asks `sam local`"),
    (r".*gateway backfill", "a day's run is test_backfill.py's; this names days without usage"),
    (r"python3 examples/", "each example is run by test_examples.py"),
    (r".* DAY$", "asks for a day of the reader's own"),
)


def blocks(page: Path) -> Iterator[list[str]]:
    """The commands of each shell block, without the page's comments."""
    for fence, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
        lines = text.replace("\\\n", " ").splitlines()
        if fence in {"sh", "bash"} or (not fence and any(line.startswith((".venv/", "aws ")) for line in lines)):
            yield [re.sub(r"\s+# .*$", "", line).strip() for line in lines if line.strip()]


def in_a_sentence(page: Path) -> Iterator[str]:
    """This project's commands within the text."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for command in re.findall(r"`([^`\n]+)`", text):
        if (
            re.match(r"(make [a-z-]+|\.venv/bin/gateway \w|(\.venv/bin/)?python3? -m \w)", command)
            and "…" not in command
        ):
            yield command


def reason(command: str) -> str | None:
    return next((why for pattern, why in NOT_HERE if re.match(pattern, command)), None)


BLOCKS = [(page, commands) for page in PAGES for commands in blocks(page)]
SENTENCES = sorted({command for page in PAGES for command in in_a_sentence(page)})


@pytest.fixture(scope="module")
def project(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a running stack, after a first call."""
    folder = tmp_path_factory.mktemp("reader")
    for path in ROOT.iterdir():
        if path.name not in {".dev", "build", ".git", ".venv"}:
            (folder / path.name).symlink_to(path)
    # The environment may be shared with another checkout, so make writes this one's command beside what it has.
    (folder / ".venv/bin").mkdir(parents=True)
    for path in [*(ROOT / ".venv").iterdir(), *(ROOT / ".venv/bin").iterdir()]:
        if path.name not in {"bin", "ready", "gateway"}:
            (folder / path.relative_to(ROOT)).symlink_to(path)
    (folder / ".venv/ready").touch()
    (folder / ".dev").symlink_to(stack.data)
    (folder / "lake").symlink_to(stack.lake)
    overlay = re.search(r"^```csv\n(.*?)^```", (ROOT / "docs/books/own-prices.md").read_text(), re.M | re.S)
    assert overlay is not None
    (folder / "overlay.csv").write_text(overlay[1])
    tenants = re.search(r"^```yaml\n(.*?)^```", (ROOT / "docs/run/tenants-and-keys.md").read_text(), re.M | re.S)
    assert tenants is not None
    (folder / "tenants.yaml").write_text(tenants[1])
    (folder / "setup").mkdir()
    (folder / "setup/configs.json").write_text('[{"STACK_PREFIX": "unit_a"}]')
    (folder / "team-ids.json").write_text('{"unit_a": ["web"]}')
    first = next(commands for page, commands in BLOCKS if "invoke_model" in " ".join(commands))
    for commands in (first, ["make costs"]):
        done = typed(folder, stack, commands)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def typed(folder: Path, stack: LocalStack, commands: list[str]) -> subprocess.CompletedProcess[str]:
    """Lines as a reader without own settings types them."""
    script = (
        "\n".join(commands).replace(SHOWN, stack.url).replace("--month 2026-11", f"--month {datetime.now(UTC):%Y-%m}")
    )
    environment = {"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.mark.parametrize(
    ("page", "commands"), BLOCKS, ids=[f"{page.name}: {commands[0][:50]}" for page, commands in BLOCKS]
)
def test_a_block_runs_as_it_stands(project: Path, stack: LocalStack, page: Path, commands: list[str]) -> None:
    here = [command for command in commands if reason(command) is None]
    for command in set(commands) - set(here):
        arguments_are_read(command)
    done = typed(project, stack, here)
    assert done.returncode == 0, (here, done.stdout, done.stderr)


@pytest.mark.parametrize("command", SENTENCES)
def test_a_command_in_a_sentence_is_one_that_there_is(project: Path, stack: LocalStack, command: str) -> None:
    if reason(command) is not None or command.startswith("make"):
        arguments_are_read(command)
        return
    done = typed(project, stack, [command])
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def arguments_are_read(command: str) -> None:
    """An unknown command, option or choice fails; for other programs of this project, by `--help`."""
    words = shlex.split(command)
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    if words[0] == "make":
        there = ["--assume-old=.venv/ready", "--assume-old=.venv/bin/gateway"]
        options = ["--dry-run", *there, f"PYTHON={sys.executable}"]
        dry = subprocess.run(["make", *options, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr
        modules = re.findall(r"^(?:exec )?(\.venv/bin/python -m scripts\.\S+) (?!--check)(.+)$", dry.stdout, re.M)
        for line in re.findall(r"^\.venv/bin/gateway (.+)$", dry.stdout, re.M):
            parsed(shlex.split(line))
        asked = [[*shlex.split(module), *shlex.split(more)] for module, more in modules if "ARGS" in command]
    elif words[0] == ".venv/bin/gateway":
        parsed([re.sub(r"^\$\(.*", "x", word) for word in words[1:]])
        asked = []
    else:
        asked = [words] if "-m" in words else []
    for each in asked:
        assert each[0] == ".venv/bin/python", f"{command}: only the environment's Python has what it needs"
        environment = {"PATH": os.environ["PATH"], "HOME": str(ROOT)}
        done = subprocess.run([*each, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        assert "usage:" in done.stdout, command


def test_each_rule_leaves_out_something() -> None:
    commands = [command for _, block in BLOCKS for command in block] + SENTENCES
    assert [pattern for pattern, _ in NOT_HERE if not any(re.match(pattern, command) for command in commands)] == []
