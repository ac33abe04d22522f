from __future__ import annotations

import pytest
from under_test import Gateway


@pytest.fixture(scope="session")
def gateway() -> Gateway:
    return Gateway()
