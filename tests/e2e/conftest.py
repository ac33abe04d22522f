"""The whole gateway on this machine, started once, as `make dev` does, on free ports and in its own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.dev.stack import LocalStack
from tests.judged import pytest_configure  # noqa: F401  # each answer is judged, and one that does not fit fails its test


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    endpoints = '{"our-llama": "llama-endpoint", "our-embedder": "embed-endpoint"}'
    with LocalStack(folder, environment={"GATEWAY_PARAM_SageMakerEndpoints": endpoints}) as running:
        yield running
