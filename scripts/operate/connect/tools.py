"""The configuration of each tool. A file that exists is merged and backed up; one that is not understood stays.

Formats: Claude Code's settings.json (`apiKeyHelper`, `env`), Codex's config.toml (`model_providers.ID.auth`), and the
AWS SDKs' config file (`services`) with AWS_BEARER_TOKEN_BEDROCK.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.project.command import WrongUse

NAME = "model-gateway"
RENEW_MS = 240_000  # how long a tool may keep a token that its helper printed
_BEGIN, _END = f"# >>> {NAME}", f"# <<< {NAME}"


@dataclass(frozen=True)
class Wanted:
    """What a tool must know: the gateway's address, the helper that prints a token, and what the person chose."""

    url: str
    helper: tuple[str, ...]
    model: str = ""
    region: str = "us-east-1"

    @property
    def command(self) -> str:
        return shlex.join(self.helper)


@dataclass(frozen=True)
class Plan:
    """A tool's configuration: a file with its new content, lines for the shell, and notes for the person."""

    path: Path | None = None
    content: str = ""
    shell: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


# --------------------------------------------------------------------------------------------------------------- tools
def claude_code(wanted: Wanted, environment: Mapping[str, str]) -> Plan:
    path = Path(environment.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude") / "settings.json"
    text = _read(path)
    try:
        settings = json.loads(text) if text.strip() else {}
    except ValueError:
        raise _not_understood(path, "JSON") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("env", {}), dict):
        raise _not_understood(path, "an object of settings")
    ours = {"ANTHROPIC_BASE_URL": wanted.url, "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": str(RENEW_MS)}
    if wanted.model:
        ours["ANTHROPIC_MODEL"] = wanted.model
    merged = settings | {"apiKeyHelper": wanted.command, "env": settings.get("env", {}) | ours}
    notes = [
        f"{name} is set and would be sent instead of the token. Remove it from {where}."
        for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")
        for where, known in ((str(path), settings.get("env", {})), ("the shell", environment))
        if known.get(name)
    ]
    return Plan(path, json.dumps(merged, indent=2, ensure_ascii=False) + "\n", notes=tuple(notes))


def codex(wanted: Wanted, environment: Mapping[str, str]) -> Plan:
    path = Path(environment.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml"
    text = _read(path)
    before = _toml(path, text)
    ours = {
        "name": "Model gateway",
        "base_url": f"{wanted.url}/v1",
        "wire_api": "responses",
        "auth": {"command": wanted.helper[0], "args": list(wanted.helper[1:]), "refresh_interval_ms": RENEW_MS},
    }
    table = "\n".join(
        [
            f"[model_providers.{NAME}]",
            *(f"{name} = {_quoted(value)}" for name, value in ours.items() if isinstance(value, str)),
            "",
            f"[model_providers.{NAME}.auth]",
            f"command = {_quoted(wanted.helper[0])}",
            f"args = [{', '.join(map(_quoted, wanted.helper[1:]))}]",
            f"refresh_interval_ms = {RENEW_MS}",
        ]
    )
    top = {"model_provider": NAME} | ({"model": wanted.model} if wanted.model else {})
    content = _with_block(_with_top(text, top), table)
    after = _toml(path, content)
    expected = before | top
    expected["model_providers"] = before.get("model_providers", {}) | {NAME: ours}
    if after != expected:  # the text has a form that these edits do not understand
        raise _not_understood(path, "a file that this command can edit")
    return Plan(path, content)


def openai(wanted: Wanted, _: Mapping[str, str]) -> Plan:
    lines = (
        f"export OPENAI_BASE_URL={shlex.quote(wanted.url + '/v1')}",
        f'export OPENAI_API_KEY="$({wanted.command})"',
    )
    return Plan(shell=lines, notes=("A token is short-lived: run the lines again when the gateway answers 401.",))


def boto3(wanted: Wanted, environment: Mapping[str, str]) -> Plan:
    path = Path(environment.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config")
    text = _read(path)
    bare = _without_block(text)
    if re.search(rf"^\s*\[\s*(profile|services)\s+{NAME}\s*\]", bare, re.MULTILINE):
        raise WrongUse(f"{path} has a profile {NAME} that this command did not write. Rename it, or use --print.")
    services = [
        line for name in ("bedrock", "bedrock_runtime") for line in (f"{name} =", f"  endpoint_url = {wanted.url}")
    ]
    block = "\n".join(
        [f"[profile {NAME}]", f"region = {wanted.region}", f"services = {NAME}", "", f"[services {NAME}]", *services]
    )
    shell = (f"export AWS_PROFILE={NAME}", f'export AWS_BEARER_TOKEN_BEDROCK="$({wanted.command})"')
    notes = ("A token is short-lived: run the lines again when the gateway answers 401.",)
    return Plan(path, _with_block(text, block), shell, notes)


TOOLS: Mapping[str, Callable[[Wanted, Mapping[str, str]], Plan]] = {
    "claude-code": claude_code,
    "codex": codex,
    "openai": openai,
    "boto3": boto3,
}


# --------------------------------------------------------------------------------------------------------------- files
def write(plan: Plan, now: datetime | None = None) -> Path | None:
    """Write the plan's file, if it changes; returns the backup of the former one, if there was one."""
    if plan.path is None:
        return None
    path = plan.path.resolve()  # a link into a folder of dotfiles stays one
    before = _read(path)
    if before == plan.content:
        return None
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    backup = None
    if path.exists():
        stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%S}"
        backup = path.with_name(f"{path.name}.{stamp}.bak")
        shutil.copy2(path, backup)
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(plan.content)
    if backup is not None:
        shutil.copymode(path, fresh)
    Path(fresh).replace(path)
    return backup


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise _not_understood(path, "text in UTF-8") from None


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _not_understood(path, "a file that this command can edit") from None


def _not_understood(path: Path, form: str) -> WrongUse:
    return WrongUse(f"{path} is not {form}, so it stays as it is. Use --print, and edit it yourself.")


def _quoted(text: str) -> str:
    """A basic string of TOML, which is one of JSON."""
    return json.dumps(text)


def _with_top(text: str, values: Mapping[str, str]) -> str:
    """The file with keys before its first table: a key replaces its own line, or comes first."""
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for name, value in values.items():
        line = f"{name} = {_quoted(value)}"
        at = next((at for at in range(end) if re.match(rf"\s*{name}\s*=", lines[at])), None)
        if at is None:
            lines.insert(0, line)
            end += 1
        else:
            lines[at] = line
    return _text(lines)


def _without_block(text: str) -> str:
    lines, kept, inside = text.splitlines(), [], False
    for line in lines:
        inside = inside or line.strip() == _BEGIN
        if not inside:
            kept.append(line)
        inside = inside and line.strip() != _END
    return _text(kept)


def _with_block(text: str, block: str) -> str:
    """The file with our block at its end, instead of an earlier one."""
    bare = _without_block(text).rstrip("\n")
    return "\n".join([*([bare, ""] if bare else []), _BEGIN, block, _END, ""])


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""
