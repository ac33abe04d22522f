"""Where a sign-in is kept: the keyring of the operating system, else a file that only its owner can read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.operate.connect.sign_in import Session, renewed
from scripts.project.command import WrongUse

SERVICE = "model-gateway"
PROFILE = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def folder() -> Path:
    """The folder of the gateway's own configuration (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / SERVICE


class Sessions:
    """The sign-ins of this person, by profile."""

    def __init__(self, place: Path | None = None):
        self._folder = place or folder()
        self._keyring = _keyring()

    def read(self, profile: str) -> Session:
        """Raises WrongUse without a sign-in."""
        text = self._from_keyring(profile) or self._from_file(profile)
        if text is None:
            raise WrongUse(f"Nobody has signed in as {profile!r}. Sign in: gateway connect")
        try:
            return Session(**json.loads(text))
        except (ValueError, TypeError):
            raise WrongUse(f"The sign-in {profile!r} is damaged. Sign in again: gateway connect") from None

    def write(self, profile: str, session: Session) -> str:
        """Keep a sign-in; returns the place, for people."""
        text = json.dumps(vars(session))
        if self._keyring is not None:
            with contextlib.suppress(Exception):  # a locked or missing keyring; each backend has errors of its own
                self._keyring.set_password(SERVICE, profile, text)
                self._path(profile).unlink(missing_ok=True)
                return "the keyring of the operating system"
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        path = self._path(profile)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
        return str(path)

    def fresh(self, profile: str, now: float) -> Session:
        """The sign-in with a token that is still valid. Renews it, if need be, in one process at a time.

        A refresh token often works once, so two tools must not use the same one. Raises WrongUse.
        """
        found = self.read(profile)
        if found.is_fresh(now):
            return found
        with self._locked(profile):
            found = self.read(profile)
            if not found.is_fresh(now):
                found = renewed(found)
                self.write(profile, found)
        return found

    def _path(self, profile: str) -> Path:
        if not _NAME.fullmatch(profile):
            raise WrongUse("A profile's name has at most 64 letters, digits, _.-")
        return self._folder / f"{profile}.json"

    def _from_file(self, profile: str) -> str | None:
        try:
            return self._path(profile).read_text()
        except FileNotFoundError:
            return None

    def _from_keyring(self, profile: str) -> str | None:
        if self._keyring is None:
            return None
        try:
            found: str | None = self._keyring.get_password(SERVICE, profile)
        except Exception:  # as above
            return None
        return found

    @contextlib.contextmanager
    def _locked(self, profile: str) -> Iterator[None]:
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        with self._path(profile).with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _keyring() -> Any:
    """The module keyring, if it is installed and has a place to keep secrets."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        return keyring if keyring.get_keyring().priority > 0 else None
    except Exception:  # a backend that cannot be loaded
        return None
