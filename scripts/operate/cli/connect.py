"""`gateway connect` and `gateway token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts.operate.cli.commands import Command, local_data, with_json, with_local
from scripts.operate.cli.terminal import notice, print_json, print_line
from scripts.project.command import WrongUse

if TYPE_CHECKING:
    from scripts.operate.connect.sign_in import Prompt, Session
    from scripts.operate.connect.tools import Plan

TOOLS = ("claude-code", "codex", "openai", "boto3")
PROFILE = "default"
LOCAL_CLIENT = "gateway-cli"

with_profile = click.option(
    "--profile", metavar="NAME", default=PROFILE, show_default=True, help="Name of the sign-in, for several gateways."
)


@click.command(cls=Command, example="gateway connect claude-code --local")
@click.argument("tool", type=click.Choice(TOOLS))
@click.option("--url", metavar="URL", envvar="GATEWAY_URL", help="Address of the gateway; GATEWAY_URL by default.")
@click.option("--issuer", metavar="URL", envvar="GATEWAY_ISSUER", help="Identity provider; GATEWAY_ISSUER by default.")
@click.option(
    "--client-id", metavar="ID", envvar="GATEWAY_CLIENT_ID", help="Public client; GATEWAY_CLIENT_ID by default."
)
@click.option("--scope", metavar="SCOPES", envvar="GATEWAY_SCOPE", help="Scopes; openid offline_access by default.")
@click.option("--id-token", is_flag=True, help="Send the id token, for providers with opaque access tokens.")
@click.option("--browser", is_flag=True, help="Sign in with a browser of this machine, without a code.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port for --browser; a free one by default.")
@click.option("--model", metavar="ID", default="", help="Model that the tool uses; its own default by default.")
@click.option("--region", metavar="REGION", envvar="AWS_REGION", default="us-east-1", help="Region for boto3.")
@click.option("--print", "only_print", is_flag=True, help="Show the configuration; neither sign in nor write.")
@with_profile
@with_local
@with_json
def connect(
    tool: str,
    url: str | None,
    issuer: str | None,
    client_id: str | None,
    scope: str | None,
    id_token: bool,
    browser: bool,
    port: int,
    model: str,
    region: str,
    only_print: bool,
    profile: str,
    local: str | None,
    as_json: bool,
) -> None:
    """Sign in, and configure a tool to use the gateway.

    The tool gets no key, but a helper that prints a short-lived token (`gateway token`). The sign-in is kept in the
    keyring of the operating system, or in a file that only you can read. An existing configuration is merged, after
    a backup.
    """
    import os

    from scripts.operate.connect.sessions import Sessions
    from scripts.operate.connect.sign_in import SCOPE, Session, must_be_safe
    from scripts.operate.connect.tools import TOOLS as CONFIGURED
    from scripts.operate.connect.tools import Wanted, write

    if local is not None:
        url, issuer, client_id = local_gateway(local)
    if not url or not (only_print or (issuer and client_id)):
        raise WrongUse("Name the gateway and its identity provider: --url, --issuer and --client-id, or --local.")
    must_be_safe(url)
    url = url.rstrip("/")
    plan = CONFIGURED[tool](Wanted(url, helper(profile), model, region), os.environ)
    if only_print:
        show(tool, plan, as_json, printed=True)
        return
    sent = "id_token" if id_token else "access_token"
    session = sign_in(Session(url, issuer or "", client_id or "", scope or SCOPE, sent), browser, port)
    place = Sessions().write(profile, session)
    backup = write(plan)
    if not as_json:
        notice(f"Signed in. The sign-in is kept in {place}.")
        if backup:
            notice(f"The former configuration is kept as {backup}.")
    show(tool, plan, as_json, backup=str(backup) if backup else "")


@click.command(cls=Command, example="gateway token --profile default")
@with_profile
@with_json
def token(profile: str, as_json: bool) -> None:
    """Print a valid token for tools.

    Exit code 2 means that you must sign in again, with `gateway connect`.
    """
    import time

    from scripts.operate.connect.sessions import Sessions

    session: Session = Sessions().fresh(profile, time.time())
    if as_json:
        print_json({"token": session.token, "expires_at": int(session.expires_at)})
    else:
        print(session.token, flush=True)


def sign_in(session: Session, browser: bool, port: int) -> Session:
    """By the device flow, which works on any machine; where the provider has none, by a browser of this one."""
    from scripts.operate.connect.browser import signed_in_by_browser
    from scripts.operate.connect.sign_in import discovered, signed_in

    provider = discovered(session.issuer)
    if browser or not provider.get("device_authorization_endpoint"):
        return signed_in_by_browser(session, provider, lambda url: print_line(f"Open {url}", "bold", err=True), port)
    return signed_in(session, provider, ask)


def ask(prompt: Prompt) -> None:
    print_line(f"Open {prompt.address} and confirm the code {prompt.code}", "bold", err=True)


def show(tool: str, plan: Plan, as_json: bool, *, printed: bool = False, backup: str = "") -> None:
    """Print what was written, or would be: content and shell lines to stdout, notes to stderr."""
    if as_json:
        said = {"tool": tool, "file": plan.path, "backup": backup, "shell": list(plan.shell), "notes": list(plan.notes)}
        if printed:
            said["content"] = plan.content
        print_json({name: value for name, value in said.items() if value})
        return
    if plan.path:
        notice(f"{'This would be' if printed else 'The configuration of the tool is in'} {plan.path}")
    if printed and plan.content:
        print(plan.content, end="", flush=True)
    for line in plan.shell:
        print_line(line)
    for note in plan.notes:
        notice(note)


def helper(profile: str) -> tuple[str, ...]:
    """The command that prints a token: this installation's own, by its whole path."""
    import shutil
    import sys
    from pathlib import Path

    beside = Path(sys.executable).with_name("gateway")
    found = str(beside) if beside.exists() else shutil.which("gateway")
    command = (found,) if found else (sys.executable, "-m", "scripts.operate.cli")
    return (*command, "token", *(() if profile == PROFILE else ("--profile", profile)))


def local_gateway(folder: str) -> tuple[str, str, str]:
    """Address, issuer and client of the local stack. Raises WrongUse."""
    import json

    data = local_data(folder)
    try:
        said = json.loads((data / "stack.json").read_text())
        return said["url"], said["identity_provider"], LOCAL_CLIENT
    except (OSError, ValueError, KeyError) as error:
        raise WrongUse(f"no local stack has run in {data}: `make dev` starts one") from error
