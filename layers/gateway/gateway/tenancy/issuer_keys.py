"""The public keys of issuers: in the process, in a store that all environments share, and at the provider.

A flood of tokens with unknown key ids reaches the provider at most once in INTERVAL, over all environments. While the
provider does not answer, the known keys serve for OUTAGE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.tenancy.issuers import Issuer, public_keys

FRESH = 3600  # seconds for which fetched keys are used without asking the provider
OUTAGE = 86400  # seconds for which known keys are used while the provider does not answer
INTERVAL = 60  # seconds between two requests to a provider, over all environments
REREAD = 300  # seconds after which another environment's fetch is looked for
_WAIT, _LOOK = 2.0, 0.25  # seconds to wait for another environment's first fetch, and between two looks
_PAUSE = 1  # seconds between two looks at the shared keys for one unknown key id


class ProviderError(Exception):
    """An identity provider did not answer with usable keys. The message has no address and no content."""


class KeysUnavailableError(Exception):
    """No key of the issuer is known that may still be used."""


@dataclass(frozen=True)
class KeySet:
    """The fetched keys of an issuer, as all environments share them. Times are seconds since the epoch, 0 for never."""

    keys: Sequence[Mapping[str, str]] = ()
    fetched_at: float = 0
    claimed_at: float = 0  # when an environment last undertook to fetch them
    jwks_uri: str = ""  # that discovery found
    discovered_at: float = 0

    def of(self, kid: str | None) -> list[Mapping[str, str]]:
        return [key for key in self.keys if kid is None or key.get("kid") == kid]


class SharedKeys(Protocol):
    """Stores fetched keys for all environments."""

    def read(self, name: str) -> KeySet: ...

    def claim(self, name: str, now: float, interval: float) -> bool:
        """Undertake the fetch: true for only one caller in `interval` seconds."""

    def keep(self, name: str, fetched: KeySet) -> None: ...


Fetch = Callable[[Issuer, KeySet, float], KeySet]
"""Gets an issuer's keys from its provider. Raises ProviderError."""


class IssuerKeys:
    """`Keys` in the process; then in the store that all environments share; then of the provider.

    The provider gets at most one request for its keys in INTERVAL, whatever tokens come.
    """

    MOST = 1000  # issuers in the process

    def __init__(
        self,
        shared: SharedKeys,
        fetch: Fetch,
        clock: Callable[[], float] = time.time,
        note: Callable[[str, str], None] = lambda _reason, _issuer_id: None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """`note` writes a provider's failure to the log: its reason, and the issuer's id."""
        self._shared = shared
        self._fetch = fetch
        self._clock, self._sleep = clock, sleep
        self._note = note
        self._known: dict[str, tuple[float, KeySet]] = {}  # and when it was read

    def find(self, issuer: Issuer, kid: str | None) -> Sequence[Mapping[str, str]]:
        if issuer.jwks is not None:
            return self._given(issuer).of(kid)
        now = self._clock()
        read_at, keys = self._known.get(issuer.keys_name) or (0.0, KeySet())
        found = keys.of(kid)
        if not (found and now < min(keys.fetched_at + FRESH, read_at + REREAD)):
            keys = self._newer(issuer, kid, now, read_at, keys)
            found = keys.of(kid)
        if now >= keys.fetched_at + OUTAGE:
            raise KeysUnavailableError
        return found

    def _given(self, issuer: Issuer) -> KeySet:
        _, keys = self._known.get(issuer.keys_name) or (0.0, None)
        return keys or self._keep(issuer, 0, KeySet(public_keys(issuer.jwks)))

    def _newer(self, issuer: Issuer, kid: str | None, now: float, read_at: float, keys: KeySet) -> KeySet:
        if now < read_at + _PAUSE:
            return keys
        keys = self._keep(issuer, now, self._shared.read(issuer.keys_name))
        if keys.of(kid) and now < keys.fetched_at + FRESH:
            return keys
        is_due = now >= keys.claimed_at + INTERVAL
        if not is_due or not self._shared.claim(issuer.keys_name, now, INTERVAL):
            being_fetched = is_due or now < keys.claimed_at + _WAIT
            return self._wait(issuer, now) if being_fetched and not keys.keys else keys
        try:
            fetched = self._fetch(issuer, keys, now)
        except ProviderError as error:
            self._note(str(error), issuer.issuer_id)
            return keys
        self._shared.keep(issuer.keys_name, fetched)
        return self._keep(issuer, now, fetched)

    def _wait(self, issuer: Issuer, now: float) -> KeySet:
        """The first keys of an issuer, which another environment is fetching."""
        keys = KeySet()
        for _ in range(int(_WAIT / _LOOK)):
            self._sleep(_LOOK)
            keys = self._shared.read(issuer.keys_name)
            if keys.keys:
                break
        return self._keep(issuer, now, keys)

    def _keep(self, issuer: Issuer, now: float, keys: KeySet) -> KeySet:
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[issuer.keys_name] = (now, keys)
        return keys
