"""Plays cells of the matrix against a stack, and judges each by its client, the ledger and the models."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from botocore.credentials import Credentials

from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import AdminApi
from scripts.project.environments import ROOT, set_up_node, set_up_quickly
from tests.e2e.test_every_cent import COUNTS
from tests.e2e.test_sdks import metered

from .matrix import CELLS, HOME, MODELS, NO_COUNT, Cell, Client, miscounted
from .tap import Tap

Json = dict[str, Any]
BUILD = ROOT / "build/client-matrix"
AT_ONCE = 2
LONGEST = 400.0  # seconds that the program of one client may take
IN_TIME = 30.0  # seconds after which no row may be open
INPUTS = tuple(name for name in COUNTS if name not in ("output_tokens", "images"))


@dataclass
class Result:
    """A cell's result: without faults it works."""

    told: Json = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def command_of(client: Client) -> list[str]:
    """The command of its program, in an environment that this creates once."""
    if client.in_node:
        folder = BUILD / client.environment
        programs = set_up_node(HOME / client.environment, folder)
        for program in (HOME / client.environment).glob("*.mjs"):  # Node looks for packages beside the program
            shutil.copyfile(program, folder / program.name)
        assert programs.exists()
        return ["node", str(BUILD / client.program)]
    name = client.environment.rpartition("/")[2]
    environment = ROOT / f".venv-client-{name.replace('_', '-')}"
    set_up_quickly(environment, HOME / client.environment / "requirements.lock")
    return [str(environment / "bin/python"), str(HOME / client.program)]


def tenant_id(name: str) -> str:
    """Each cell and each command has its own tenant, so that its usage is separate."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def apart(stack: LocalStack, home: Path, **told: str) -> dict[str, str]:
    """An environment without this machine's variables, which can reach only this machine's own addresses."""
    nowhere = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    )
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    trusted = dict.fromkeys(("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(stack.ca))
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), **nowhere, **here, **trusted, **told}


class Players:
    """Plays clients against one stack, each cell as its own tenant."""

    def __init__(self, stack: LocalStack, tap: Tap | None = None):
        self.stack, self.tap = stack, tap or Tap(stack.url)
        said = json.loads((stack.data / "tenants.json").read_text())
        known = Credentials(said["admin"]["access_key_id"], said["admin"]["secret_access_key"])
        self._admin = AdminApi(stack.url, said["region"], known)

    def play(self, cells: Iterable[Cell]) -> dict[Cell, Result]:
        by_client: dict[Client, list[Cell]] = defaultdict(list)
        for cell in cells:
            by_client[cell.client].append(cell)
        commands = {client: command_of(client) for client in by_client}
        with ThreadPoolExecutor(8) as pool:
            assert len({tenant_id(cell.caller) for cell in CELLS}) == len(CELLS)
            every = [cell for some in by_client.values() for cell in some]
            keys = dict(zip(every, pool.map(lambda cell: self.key_of(cell.caller), every), strict=True))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            played = pool.map(lambda client: self._told(commands[client], by_client[client], keys), by_client)
            told = {cell: line for some in played for cell, line in some.items()}
        rows = self._settled()
        served = requests.get(f"{self.stack.model_stand_in_url}/_ledger", timeout=30).json()["records"]
        results = {}
        for cell, key in keys.items():
            own = [row for row in rows if row["tenant_id"] == tenant_id(cell.caller)]
            report = requests.get(f"{self.stack.url}/usage", headers={"x-api-key": key}, timeout=30).json()
            faults = [
                *_of_the_client(cell, told[cell]),
                *_of_the_money(cell, told[cell], own, served, report["totals"]),
            ]
            results[cell] = Result(told[cell], faults, sorted(self.tap.warnings[key]))
        return results

    def key_of(self, name: str) -> str:
        """The key of a tenant that is made for it."""
        self._admin.call("PUT", f"/admin/tenants/{tenant_id(name)}", {"name": name})
        key: str = self._admin.call("POST", f"/admin/tenants/{tenant_id(name)}/keys", {"label": "matrix"})["key"]
        return key

    def _told(self, command: list[str], cells: list[Cell], keys: Mapping[Cell, str]) -> dict[Cell, Json]:
        """A client program's output for each cell."""
        asked = [{"id": c.id, "scenario": c.scenario, "model": MODELS[c.model], "key": keys[c]} for c in cells]
        environment = apart(
            self.stack,
            self.stack.data / "homes" / Path(command[1]).stem,
            CELLS=json.dumps(asked),
            GATEWAY_URL=self.tap.url,
            GATEWAY_TLS_URL=self.stack.tls_url,
            AWS_EC2_METADATA_DISABLED="true",
            LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True",
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            PYTHONPATH=str(HOME / "python"),
        )
        try:
            ran = subprocess.run(
                command,
                env=environment,
                cwd=self.stack.data,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
            output, said = ran.stdout, ran.stderr
        except subprocess.TimeoutExpired as late:
            output, said = str(late.stdout or ""), f"not done after {LONGEST} s"
        lines = {
            line["id"]: line for line in map(json.loads, filter(lambda text: text.startswith("{"), output.splitlines()))
        }
        return {cell: lines.get(cell.id, {"error": f"the program said nothing: {said[-600:]}"}) for cell in cells}

    def _settled(self) -> list[Json]:
        """The ledger's rows when none is open, or after a timeout."""
        deadline = time.monotonic() + IN_TIME
        while True:
            rows = metered(self.stack)
            if time.monotonic() > deadline or not any(row["outcome"] == "open" for row in rows):
                return rows
            time.sleep(0.2)


def _of_the_client(cell: Cell, told: Json) -> Iterator[str]:
    if told.get("error"):
        yield told["error"]
        return
    if cell.scenario == "structured":
        trip = told.get("object") or {}
        if not (isinstance(trip.get("city"), str) and isinstance(trip.get("days"), int)):
            yield f"no city and days in {trip}"
    elif not told.get("text"):
        yield "no text"
    if cell.scenario == "tools" and told.get("tool") != ["Paris"]:
        yield f"the tool ran with {told.get('tool')}"


def _of_the_money(cell: Cell, told: Json, rows: list[Json], served: list[Json], reported: Json) -> Iterator[str]:
    """The client's count, the ledger's rows, `/usage` and the models' own ledger agree."""
    if told.get("error"):
        if any(row["outcome"] == "open" for row in rows):
            yield "a row is open"
        return
    if not rows or any(row["outcome"] != "succeeded" for row in rows):
        yield f"rows are {[row['outcome'] for row in rows]}"
    asked = {row["request_id"] for row in rows}
    theirs = [record for record in served if (record["request_metadata"] or {}).get("request_id") in asked]
    if len(theirs) != len(rows):
        yield f"{len(rows)} rows for {len(theirs)} calls"
    for name in COUNTS:
        counts = [sum(int(row.get(name) or 0) for row in some) for some in (rows, theirs)] + [int(reported[name])]
        if len(set(counts)) > 1:
            yield f"{name}: ledger, models and /usage say {counts}"
    metered_usage = {
        "input": sum(int(row.get(name) or 0) for row in rows for name in INPUTS),
        "output": sum(int(row.get("output_tokens") or 0) for row in rows),
    }
    usage, excuse = told.get("usage"), miscounted(cell)
    if cell.scenario == "hang-up":
        return
    if excuse and (usage is None if excuse == NO_COUNT else usage != metered_usage):
        return
    if excuse or usage != metered_usage:
        yield f"the client says {usage}, metered was {metered_usage}"
