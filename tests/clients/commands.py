"""The coding agents that people use with a gateway: the real commands, each run once, isolated from this machine's."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.project.environments import NotSetUp, set_up_node

from .matrix import HOME, MODELS
from .playing import BUILD

LONGEST = 90.0  # seconds that a command may take
MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
CODEX_CONFIG = """\
model = "{model}"
model_provider = "gateway"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.gateway]
name = "Gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


@dataclass(frozen=True)
class Command:
    """A command from npm; `how` describes the settings that its user needs."""

    package: str
    how: str

    @property
    def version(self) -> str:
        lock = json.loads((HOME / "commands/package-lock.json").read_text())
        return str(lock["packages"][f"node_modules/{self.package}"]["version"])


CODEX = Command(
    "@openai/codex", 'a `model_providers` table in `config.toml`: `base_url`, `env_key`, `wire_api = "responses"`'
)
CLAUDE_CODE = Command("@anthropic-ai/claude-code", "`ANTHROPIC_BASE_URL`, `ANTHROPIC_AUTH_TOKEN`, `ANTHROPIC_MODEL`")
COMMANDS = (CODEX, CLAUDE_CODE)


def installed() -> Path:
    """The packages of the commands. Raises NotSetUp."""
    return set_up_node(HOME / "commands", BUILD / "commands").parent


def binary_of(command: Command) -> Path:
    """The program itself, without its launcher. Raises NotSetUp, also where its makers build none for this machine."""
    system, machine = platform.system().lower(), MACHINES.get(platform.machine(), platform.machine())
    folder = installed() / f"{command.package}-{system}-{machine}"
    pattern = "vendor/*/bin/codex" if command is CODEX else "claude"
    found = sorted(folder.glob(pattern))
    if not found:
        raise NotSetUp(HOME / "commands/package-lock.json", f"{command.package} has no program for {system} {machine}")
    return found[0]


def run(arguments: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )


def codex(prompt: str, url: str, key: str, environment: Mapping[str, str], folder: Path) -> list[dict[str, object]]:
    """The events that `codex exec` printed."""
    home = Path(environment["HOME"]) / ".codex"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(CODEX_CONFIG.format(model=MODELS["Claude"], url=url))
    options = ["--json", "--skip-git-repo-check", "--sandbox", "read-only"]
    told = {**environment, "CODEX_HOME": str(home), "GATEWAY_KEY": key}
    ran = run([str(binary_of(CODEX)), "exec", *options, prompt], told, folder)
    events = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert events, ran.stderr[-2000:]
    return events


def claude(
    prompt: str, model: str, url: str, key: str, environment: Mapping[str, str], folder: Path, *options: str
) -> list[dict[str, object]]:
    """The messages that `claude -p` printed; the last one is its result."""
    quiet = ("DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER")
    told = {
        **environment,
        **dict.fromkeys((*quiet, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"), "1"),
        "CLAUDE_CONFIG_DIR": str(Path(environment["HOME"]) / ".claude"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
    }
    streams = ["--output-format", "stream-json", "--verbose"]
    ran = run([str(binary_of(CLAUDE_CODE)), "-p", prompt, *streams, *options], told, folder)
    messages = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert messages, ran.stderr[-2000:]
    return messages
