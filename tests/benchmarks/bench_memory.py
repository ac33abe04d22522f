"""Memory of `make dev` by number of calls: all its processes together, with shared pages counted once (PSS).

    python -m tests.benchmarks.bench_memory [1000,5000,20000]

The calls come from as many concurrent clients as a laptop can have. Its user expects some hundred MB, and that each call
adds only its row.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.dev.stack import LocalStack
from tests.benchmarks.bench_calls import MODEL

CLIENTS = 8
QUIET = 12.0  # seconds after which what a burst has started has gone again
UNTHROTTLED = {"GATEWAY_PARAM_RateLimit": "10000", "GATEWAY_PARAM_BurstLimit": "10000"}


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        children[parent].append(int(stat.parent.name))
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children[found[-1]]
    return found


def held(pid: int) -> float:
    """MB of a process: its own pages, and its part of the shared ones."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1024


def processes(stack: LocalStack) -> Mapping[str, float]:
    """MB by what a process is for; `all` together."""
    names = {pid: name for name, pid in stack.info["processes"].items()} | {stack.info["pid"]: "supervisor"}
    found: dict[str, float] = defaultdict(float)
    for pid in family(stack.info["pid"]):
        found[names.get(pid, "workers")] += held(pid)
    return {"all": sum(found.values()), **found}


def call(stack: LocalStack, calls: int, clients: int = CLIENTS) -> None:
    """Make metered calls, from several clients at a time."""
    keys = [tenant["key"] for tenant in stack.tenants]
    local = threading.local()

    def one(number: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", stack.info["api_port"])
        headers = {"x-api-key": keys[number % len(keys)], "content-type": "application/json"}
        local.connection.request(
            "POST", f"/invoke_model?model_id={MODEL}", json.dumps({"inputs": "What is a ledger?"}), headers
        )
        answer = local.connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said

    with ThreadPoolExecutor(clients) as many:
        list(many.map(one, range(calls)))


def main() -> None:
    plan = [int(calls) for calls in (sys.argv[1] if len(sys.argv) > 1 else "1000,5000,20000").split(",")]
    with tempfile.TemporaryDirectory() as folder, LocalStack(folder, environment=UNTHROTTLED) as stack:
        made = 0
        print("\nMemory of the local stack by calls, in MB (PSS)")
        for calls in (0, *plan):
            call(stack, calls - made)
            made = calls
            time.sleep(QUIET)
            found = processes(stack)
            parts = ", ".join(
                f"{name} {size:.0f}" for name, size in sorted(found.items()) if name != "all" and size > 1
            )
            print(f"  {calls:8,} calls: {found['all']:6.0f}   ({parts})", flush=True)


if __name__ == "__main__":
    main()
