"""A proxy between clients and the gateway that changes no byte, and reads the gateway's warnings."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_KEY = re.compile(rb"mgw_\w+")
_WARNING = re.compile(rb"^x-gateway-warning: ([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LARGEST = 1 << 16


class Tap:
    """Listens on `url`. `warnings` has each key's warnings, if they came over HTTP/1.1 without TLS."""

    def __init__(self, upstream: str):
        self._upstream = urlsplit(upstream)
        self.warnings: dict[str, set[str]] = defaultdict(set)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        key = ""

        def asked(data: bytes) -> None:
            nonlocal key
            if found := _KEY.search(data):  # a connection may serve one key after another
                key = found[0].decode()

        def answered(data: bytes) -> None:
            self.warnings[key].update(line.decode() for line in _WARNING.findall(data))

        await asyncio.gather(_pump(reader, up_writer, asked), _pump(up_reader, writer, answered))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := await reader.read(_LARGEST):
            seen(data)
            writer.write(data)
            await writer.drain()
    with suppress(OSError):  # either side hung up: the other one learns of it at once
        writer.close()
