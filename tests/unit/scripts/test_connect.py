"""`gateway connect` changes only its own settings of a tool, keeps the former file, and no file holds a token."""

from __future__ import annotations

import json
import stat
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.operate.cli.gateway import main
from scripts.operate.connect import sessions, sign_in
from scripts.operate.connect.sessions import Sessions
from scripts.operate.connect.sign_in import Session, must_be_safe, with_tokens
from scripts.operate.connect.tools import TOOLS, Plan, Wanted, boto3, claude_code, codex, openai, write
from scripts.project.command import CommandFailedError, WrongUse

URL = "https://gateway.example.com"
WANTED = Wanted(URL, ("/opt/the tools/gateway", "token"))
NOW = datetime(2026, 12, 1, 10, 20, 30, tzinfo=UTC)


def planned(tool: Any, path: Path, text: str | None, wanted: Wanted = WANTED, **environment: str) -> Plan:
    if text is not None:
        path.write_text(text)
    places = {"CLAUDE_CONFIG_DIR": str(path.parent), "CODEX_HOME": str(path.parent), "AWS_CONFIG_FILE": str(path)}
    plan: Plan = tool(wanted, places | environment)
    assert plan.path == path
    return plan


# --------------------------------------------------------------------------------------------------------------- tools
def test_claude_code_gets_a_helper_and_keeps_its_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    before = {"permissions": {"allow": ["Bash(ls)"]}, "env": {"FOO": "ü"}, "apiKeyHelper": "old"}
    after = json.loads(planned(claude_code, path, json.dumps(before)).content)
    assert after["apiKeyHelper"] == "'/opt/the tools/gateway' token"
    assert after["permissions"] == before["permissions"]
    assert after["env"]["ANTHROPIC_BASE_URL"] == URL
    assert after["env"]["FOO"] == "ü"
    assert 0 < int(after["env"]["CLAUDE_CODE_API_KEY_HELPER_TTL_MS"]) <= 300_000
    assert "ANTHROPIC_MODEL" not in after["env"]
    chosen = Wanted(URL, ("gateway",), "anthropic.claude-x")
    assert json.loads(planned(claude_code, path, "", chosen).content)["env"]["ANTHROPIC_MODEL"] == "anthropic.claude-x"


def test_a_setting_that_wins_over_the_helper_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    plan = planned(claude_code, path, '{"env": {"ANTHROPIC_AUTH_TOKEN": "sk-secret"}}', ANTHROPIC_API_KEY="sk-2")
    assert [note.split()[0] for note in plan.notes] == ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"]
    assert "sk-" not in "".join(plan.notes)


def test_codex_gets_a_provider_with_a_command_and_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    before = '# mine\nmodel = "gpt-5"\nmodel_provider = "openai"\n\n[model_providers.other]\nname = "Other"\n\n[tui]\nx = 1\n'
    content = planned(codex, path, before).content
    after = tomllib.loads(content)
    assert after["model_provider"] == "model-gateway"
    assert (after["model"], after["tui"], after["model_providers"]["other"]) == ("gpt-5", {"x": 1}, {"name": "Other"})
    ours = after["model_providers"]["model-gateway"]
    assert (ours["base_url"], ours["wire_api"]) == (f"{URL}/v1", "responses")
    assert (ours["auth"]["command"], ours["auth"]["args"]) == ("/opt/the tools/gateway", ["token"])
    assert "# mine\n" in content
    assert planned(codex, path, content).content == content  # again changes nothing
    moved = planned(codex, path, content, Wanted("https://other.example.com", ("gateway",), "m"))
    assert tomllib.loads(moved.content)["model_providers"]["model-gateway"]["base_url"].startswith("https://other")
    assert tomllib.loads(moved.content)["model"] == "m"


def test_boto3_gets_a_profile_that_botocore_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    before = "[default]\nregion = eu-west-1\n# mine\n"
    plan = planned(boto3, path, before, Wanted(URL, ("gateway", "token"), region="eu-central-1"))
    assert plan.content.startswith(before)
    path.write_text(plan.content)
    assert planned(boto3, path, None, Wanted(URL, ("gateway", "token"), region="eu-central-1")).content == plan.content
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    session = botocore.session.Session(profile="model-gateway")
    for service in ("bedrock-runtime", "bedrock"):
        client = session.create_client(service, aws_access_key_id="x", aws_secret_access_key="x")
        assert (client.meta.endpoint_url, client.meta.region_name) == (URL, "eu-central-1")
    assert 'AWS_BEARER_TOKEN_BEDROCK="$(gateway token)"' in plan.shell[1]


def test_openai_gets_lines_for_the_shell() -> None:
    plan = openai(WANTED, {})
    assert plan.path is None
    assert plan.shell == (
        f"export OPENAI_BASE_URL={URL}/v1",
        "export OPENAI_API_KEY=\"$('/opt/the tools/gateway' token)\"",
    )


@pytest.mark.parametrize(
    ("tool", "name", "text"),
    [
        (claude_code, "settings.json", "{ // a comment\n}"),
        (claude_code, "settings.json", "[]"),
        (claude_code, "settings.json", '{"env": 7}'),
        (codex, "config.toml", "not = toml = at all"),
        (codex, "config.toml", 'model_providers = { other = { name = "x" } }\n'),
        (codex, "config.toml", '[model_providers.model-gateway]\nname = "mine"\n'),
        (codex, "config.toml", 'text = """\nmodel_provider = "x"\n"""\n'),
        (boto3, "config", "[profile model-gateway]\nregion = x\n"),
        (boto3, "config", "[ services  model-gateway ]\n"),
    ],
)
def test_a_file_that_is_not_understood_stays(tmp_path: Path, tool: Any, name: str, text: str) -> None:
    with pytest.raises(WrongUse, match="--print"):
        planned(tool, tmp_path / name, text)
    assert (tmp_path / name).read_text() == text


@given(st.text(alphabet='ab[]"=#\n .model_provider', max_size=80))
def test_whatever_toml_there_was_is_there_afterwards(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            before = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            return
        try:
            after = tomllib.loads(planned(codex, Path(folder) / "config.toml", text).content)
        except WrongUse:
            return
        for name in before.keys() - {"model_provider", "model_providers"}:
            assert after[name] == before[name]


def test_a_file_is_backed_up_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "settings.json"
    real.parent.mkdir()
    real.write_text("{}")
    real.chmod(0o640)
    link = tmp_path / "settings.json"
    link.symlink_to(real)
    backup = write(Plan(link, '{"a": 1}\n'), NOW)
    assert backup == real.with_name("settings.json.20261201T102030.bak")
    assert (backup.read_text(), real.read_text(), link.is_symlink()) == ("{}", '{"a": 1}\n', True)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert write(Plan(link, '{"a": 1}\n')) is None  # nothing to change
    fresh = tmp_path / "new" / "config.toml"
    assert write(Plan(fresh, "x = 1\n")) is None
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
    assert sorted(path.name for path in real.parent.iterdir()) == ["settings.json", backup.name]


# ------------------------------------------------------------------------------------------------------------ sessions
SESSION = Session(URL, "https://idp.example.com", "cli", token="a.b.c", expires_at=2e9, refresh_token="r1")


@pytest.fixture
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.mark.usefixtures("_no_keyring")
def test_without_a_keyring_a_sign_in_is_a_file_of_its_owner(tmp_path: Path) -> None:
    kept = Sessions(tmp_path / "own")
    path = Path(kept.write("default", SESSION))
    assert kept.read("default") == SESSION
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for missing in ("other", "../default"):
        with pytest.raises(WrongUse):
            kept.read(missing)
    path.write_text("{")
    with pytest.raises(WrongUse, match="damaged"):
        kept.read("default")


class Ring:
    """A keyring of the operating system."""

    def __init__(self, priority: float = 5, *, locked: bool = False):
        self.held: dict[tuple[str, str], str] = {}
        self.priority, self.locked = priority, locked

    def get_keyring(self) -> Any:
        return SimpleNamespace(priority=self.priority)

    def set_password(self, service: str, name: str, text: str) -> None:
        if self.locked:
            raise RuntimeError("locked")
        self.held[service, name] = text

    def get_password(self, service: str, name: str) -> str | None:
        return self.held.get((service, name))


def test_a_keyring_keeps_the_sign_in_and_no_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    monkeypatch.setitem(sys.modules, "keyring", ring)
    kept = Sessions(tmp_path)
    assert "keyring" in kept.write("default", SESSION)
    assert kept.read("default") == SESSION
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ring", [Ring(priority=0), Ring(locked=True)], ids=["no backend", "locked"])
def test_a_keyring_that_keeps_nothing_is_replaced_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Ring
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", ring)
    kept = Sessions(tmp_path)
    assert kept.write("default", SESSION) == str(tmp_path / "default.json")
    assert kept.read("default") == SESSION


@pytest.mark.usefixtures("_no_keyring")
def test_a_token_is_renewed_shortly_before_its_end_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Sessions(tmp_path)
    asked: list[Session] = []

    def renewed(session: Session) -> Session:
        asked.append(session)
        return with_tokens(session, {"access_token": "d.e.f", "expires_in": 600, "refresh_token": "r2"}, time.time())

    monkeypatch.setattr(sessions, "renewed", renewed)
    now = time.time()
    kept.write("default", Session(URL, "i", "c", token="a.b.c", expires_at=now + 120, refresh_token="r1"))
    assert kept.fresh("default", now).token == "a.b.c"
    assert kept.fresh("default", now + 61).token == "d.e.f"
    assert kept.fresh("default", now + 61).token == "d.e.f"
    assert [session.refresh_token for session in asked] == ["r1"]
    assert kept.read("default").refresh_token == "r2"


def test_an_answer_without_a_usable_token_says_what_to_do() -> None:
    for said, message in (
        ({}, "--scope"),
        ({"access_token": "opaque"}, "--id-token"),
        ({"access_token": 7}, "--scope"),
    ):
        with pytest.raises(CommandFailedError, match=message):
            with_tokens(SESSION, said, 0)
    assert with_tokens(SESSION, {"access_token": "d.e.f"}, 0).refresh_token == "r1"  # a provider may keep the old one


@pytest.mark.parametrize(
    "url", ["http://gateway.example.com", "ftp://x", "http://127.0.0.1.example.com", "x", "http://["]
)
def test_a_token_goes_nowhere_in_clear(url: str) -> None:
    with pytest.raises(WrongUse, match="https"):
        must_be_safe(url)


def test_a_renewal_that_is_refused_asks_to_sign_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "discovered", lambda _: {"token_endpoint": "https://idp.example.com/token"})
    monkeypatch.setattr(sign_in, "posted", lambda *_: (400, {"error": "invalid_grant"}))
    with pytest.raises(WrongUse, match="Sign in again"):
        sign_in.renewed(SESSION)
    with pytest.raises(WrongUse, match="Sign in again"):
        sign_in.renewed(Session(URL, "i", "c"))


# ------------------------------------------------------------------------------------------------------------- command
@pytest.mark.parametrize("tool", TOOLS)
def test_print_shows_and_neither_signs_in_nor_writes(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert main(["connect", tool, "--url", URL, "--print"]) == 0
    said = capsys.readouterr().out
    assert URL in said
    assert "token" in said
    assert list(tmp_path.iterdir()) == []
    assert main(["connect", tool, "--url", URL, "--print", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tool"] == tool


@pytest.mark.usefixtures("_no_keyring")
@pytest.mark.parametrize(
    "words",
    [
        ["token"],
        ["token", "--profile", "../x"],
        ["connect", "codex"],
        ["connect", "codex", "--url", URL],
        ["connect", "emacs"],
        ["connect", "codex", "--url", "http://gateway.example.com", "--issuer", "https://a", "--client-id", "x"],
        ["connect", "codex", "--url", URL, "--issuer", "http://idp.example.com", "--client-id", "x"],
        ["connect", "codex", "--local", "/nowhere"],
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("GATEWAY_URL", "GATEWAY_ISSUER", "GATEWAY_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
