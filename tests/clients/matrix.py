"""The matrix's clients, scenarios and models, and the known results of single cells."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

HOME = Path(__file__).parent

MODELS = {"Claude": "us.anthropic.claude-haiku-4-5-20251001-v1:0", "Nova": "amazon.nova-lite-v1:0"}
SCENARIOS = {
    "plain": "one question, one answer",
    "streamed": "the same as a stream",
    "conversation": "a second question, with the client's own history of the first",
    "tools": "the model says a few words and calls a tool, the client runs it, the model answers",
    "structured": "an answer in a shape that the client asks for, in the client's own way",
    "hang-up": "the client hangs up after the first words of a stream",
}


@dataclass(frozen=True)
class Client:
    """A client by the package that its users install; `program` plays its scenarios."""

    package: str
    api: str
    program: str

    @property
    def name(self) -> str:
        return f"{self.package}, {self.api}"

    @property
    def in_node(self) -> bool:
        return self.program.endswith(".mjs")

    @property
    def environment(self) -> str:
        """The folder of the lock that it is installed from."""
        return self.program.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in the lock."""
        if self.in_node:
            lock = json.loads((HOME / self.environment / "package-lock.json").read_text())
            return str(lock["packages"][f"node_modules/{self.package}"]["version"])
        lock = (HOME / self.environment / "requirements.lock").read_text()
        found = re.search(rf"^{re.escape(self.package)}==(\S+)", lock, re.MULTILINE)
        assert found, f"{self.package} is not in the lock of {self.environment}"
        return found[1]


CLIENTS = (
    Client("openai", "Chat Completions", "node/openai.mjs"),
    Client("openai", "Responses", "node/openai-responses.mjs"),
    Client("@anthropic-ai/sdk", "Messages", "node/anthropic.mjs"),
    Client("@ai-sdk/openai", "Responses", "node/ai-sdk-openai.mjs"),
    Client("@ai-sdk/anthropic", "Messages", "node/ai-sdk-anthropic.mjs"),
    Client("@ai-sdk/amazon-bedrock", "Converse", "node/ai-sdk-bedrock.mjs"),
    Client("@aws-sdk/client-bedrock-runtime", "Converse over HTTP/2", "node/aws-sdk.mjs"),
    Client("@langchain/openai", "Chat Completions", "node/langchain-openai.mjs"),
    Client("@langchain/anthropic", "Messages", "node/langchain-anthropic.mjs"),
    Client("@langchain/aws", "Converse over HTTP/2", "node/langchain-aws.mjs"),
    Client("@openai/agents", "Responses", "node/openai-agents.mjs"),
    Client("openai-agents", "Responses", "python/openai_agents/scenarios.py"),
    Client("strands-agents", "Converse", "python/strands/bedrock.py"),
    Client("strands-agents", "Chat Completions", "python/strands/openai_model.py"),
    Client("pydantic-ai-slim", "Responses", "python/pydantic_ai/openai_model.py"),
    Client("pydantic-ai-slim", "Chat Completions", "python/pydantic_ai/openai_chat.py"),
    Client("pydantic-ai-slim", "Messages", "python/pydantic_ai/anthropic_model.py"),
    Client("pydantic-ai-slim", "Converse", "python/pydantic_ai/bedrock.py"),
    Client("llama-index-llms-openai-like", "Chat Completions", "python/llama_index/scenarios.py"),
    Client("instructor", "Chat Completions", "python/instructor/openai_client.py"),
    Client("instructor", "Messages", "python/instructor/anthropic_client.py"),
    Client("litellm", "Chat Completions", "python/litellm/openai_provider.py"),
    Client("litellm", "Messages", "python/litellm/anthropic_provider.py"),
    Client("litellm", "Converse", "python/litellm/bedrock_provider.py"),
)


@dataclass(frozen=True)
class Cell:
    client: Client
    scenario: str
    model: str  # a name of MODELS

    @property
    def id(self) -> str:
        return f"{self.client.name}, {self.scenario}, {self.model}"

    @property
    def caller(self) -> str:
        """By its program, since two packages may have one name but for its punctuation."""
        return f"{self.client.program} {self.scenario} {self.model}"


CELLS = tuple(Cell(*parts) for parts in product(CLIENTS, SCENARIOS, MODELS))

# Where a client itself tells its user another count than it was told, or none. What is metered is right all the same.
# One that counts right again has to leave this table.
NO_COUNT = "the client tells no usage here"
MISCOUNTED = {
    ("@langchain/anthropic", "streamed", "Claude"): "the client adds the first token of `message_start` once more",
    (
        "@langchain/anthropic",
        "streamed",
        "Nova",
    ): "the client reads no input tokens from `message_delta`, where they come",
    ("instructor", "streamed", "Claude"): NO_COUNT,
    ("instructor", "streamed", "Nova"): NO_COUNT,
    ("llama-index-llms-openai-like", "structured", "Claude"): NO_COUNT,
    ("llama-index-llms-openai-like", "structured", "Nova"): NO_COUNT,
}

# What does not work, and why. A cell that works again has to leave this table.
FAILING: dict[tuple[str, str, str], str] = {}


def miscounted(cell: Cell) -> str:
    """Why the client's own count is not compared with the ledger; empty if it is."""
    return MISCOUNTED.get((cell.client.package, cell.scenario, cell.model), "")


def failing(cell: Cell) -> str:
    return FAILING.get((cell.client.name, cell.scenario, cell.model), "")
