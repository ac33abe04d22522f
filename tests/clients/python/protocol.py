"""A scenario program's input and output: cells in the environment, a line of JSON for each on standard output."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

HELLO = "Say hello."
GOODBYE = "Now say goodbye."
# The model says a few words before it calls the tool, as Claude does.
WEATHER = "What is the weather in 'Paris'? [[tokens_out=40]]"
TRIP = "Plan a trip to 'Paris' of 3 days."
LONG = "Tell a long story. [[chunks=40]] [[chunk_delay=0.03]]"
PATIENCE = 90  # seconds that one cell may take

URL = os.environ["GATEWAY_URL"]
TLS_URL = os.environ["GATEWAY_TLS_URL"]


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix, with its own tenant's key."""

    id: str
    scenario: str
    model: str
    key: str


@dataclass
class Told:
    """The client's result for its user: text or object, the tools with their inputs, tokens in (with cached ones) and out."""

    text: str = ""
    object: Any = None
    tool: list[str] = field(default_factory=list)
    usage: dict[str, int] | None = None


def used(inputs: int, outputs: int) -> dict[str, int]:
    return {"input": inputs, "output": outputs}


def weather(seen: list[str]) -> Callable[[str], str]:
    """The tool of every loop; it records its inputs in `seen`."""

    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: The name of the city.
        """
        seen.append(city)
        return f"21 degrees in {city}"

    return get_weather


async def _one(scenario: Callable[[Cell], Any], cell: Cell) -> dict[str, Any]:
    try:
        told = scenario(cell)
        if inspect.isawaitable(told):
            told = await asyncio.wait_for(told, PATIENCE)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:600]}
    return asdict(told)


def play(**scenarios: Callable[[Cell], Any]) -> None:
    """Play each cell of the environment in one event loop, and close everything that is still open."""

    async def all_of_them() -> None:
        for told in json.loads(os.environ["CELLS"]):
            cell = Cell(**told)
            line = await _one(scenarios[cell.scenario.replace("-", "_")], cell)
            print(json.dumps({"id": cell.id, **line}), flush=True)

    asyncio.run(all_of_them())
    sys.stdout.flush()
    os._exit(0)  # connections that a client keeps open need not be waited for
