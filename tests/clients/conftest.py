"""What clients are answered is judged, as it is in tests/e2e."""

from __future__ import annotations

from tests.judged import pytest_configure  # noqa: F401
