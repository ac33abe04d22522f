"""Lambda on this machine: a pool of worker processes for each function.

A worker serves one event at a time. A pool grows while events wait, up to its cap; further events queue. If a worker
dies during an event, the event fails with Runtime.ExitError; a worker that exceeds the function's timeout is killed. An
event that a dead worker had not begun goes to another one: only a begun event may have called a model.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.project.template import Function

_WORKER = Path(__file__).with_name("worker.py")
_LENGTH = struct.Struct("!I")
_START_TIMEOUT = 60.0
_CORES = os.cpu_count() or 2  # workers that may start at a time: loading a function uses much CPU
_PATIENCE = 0.02  # a busy worker is often free before a new one has started
_KEPT, _QUIET = 1, 3.0  # idle workers kept per function; seconds after which the others end
_TRIES = 3  # attempts for an event whose workers die before they begin it, and for a worker that dies at its start
_BEGUN = b"*"
_CAN_FORK = sys.platform == "linux"  # macOS's libraries break after a fork without exec


@dataclass(frozen=True)
class Outcome:
    """An event's result: the function's JSON, or the JSON of its error."""

    payload: bytes
    failed: bool


class StillRunning(Exception):
    """The event outlasted the caller's timeout, and still runs."""


class WorkerDied(Exception):
    """The worker's end of the socket closed."""


class NotBegun(Exception):
    """The worker died before it began the event, so another can take it."""


def _error(kind: str, message: str) -> Outcome:
    return Outcome(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


class PreforkServer:
    """Creates worker processes: forks of a warm one if possible, else fresh ones."""

    def __init__(self, environment: Mapping[str, str], lifeline: int):
        self._environment = dict(environment)
        self._lifeline = lifeline
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._commands: socket.socket | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._closed = False
        if _CAN_FORK:
            self._breed()

    def _breed(self) -> None:
        """Start the forking process, again if it has died."""
        if self._zygote is not None and self._commands is not None:
            self._commands.close()
            self._zygote.kill()
            self._zygote.wait()
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_TIMEOUT)
        self._zygote = self._run(theirs, "--zygote")
        self._commands = ours

    def _run(self, connection: socket.socket, *options: str) -> subprocess.Popen[bytes]:
        with connection:
            return subprocess.Popen(
                # -P: keep the folder of worker.py off the import path.
                [sys.executable, "-P", str(_WORKER), "--fd", str(connection.fileno()), *options],
                pass_fds=(connection.fileno(), self._lifeline),
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C is for the supervisor
            )

    def make(self) -> tuple[socket.socket, int]:
        """A socket to a new worker, and its process id. Raises WorkerDied."""
        ours, theirs = socket.socketpair()
        if not _CAN_FORK:
            child = self._run(theirs)
            with self._lock:
                self._children = [other for other in self._children if other.poll() is None] + [child]
            return ours, child.pid
        with theirs, self._lock:
            for _ in range(2):
                if self._closed:
                    break
                if (pid := self._forked(theirs)) is not None:
                    return ours, pid
                self._breed()
        ours.close()
        raise WorkerDied

    def _forked(self, theirs: socket.socket) -> int | None:
        """The process id of a new fork; None if the forking process has died."""
        assert self._commands is not None
        try:
            socket.send_fds(self._commands, [b"w"], [theirs.fileno()])
            answer = self._commands.recv(_LENGTH.size)
        except OSError:
            return None
        return int(_LENGTH.unpack(answer)[0]) if len(answer) == _LENGTH.size else None

    @property
    def pid(self) -> int | None:
        """The forking process, which leads the process group of its forks."""
        return self._zygote.pid if self._zygote else None

    def close(self) -> None:
        self._closed = True
        if self._commands is not None:
            self._commands.close()
        for process in [*self._children, *([self._zygote] if self._zygote else [])]:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Worker:
    """One worker process, seen from the supervisor."""

    def __init__(self, nursery: PreforkServer, configuration: bytes):
        self._socket, self.pid = nursery.make()
        self.begun = False  # its last event
        self._socket.settimeout(_START_TIMEOUT)
        self._send(configuration)
        self.idle_since = time.monotonic()

    def ready(self) -> Outcome | None:
        """Wait until the function is loaded; returns the error if loading fails."""
        answer = self._receive()
        return Outcome(answer[1:], failed=True) if answer[:1] == b"!" else None

    def alive(self) -> bool:
        """Does it wait for an event? It then sends no data, so a readable socket means its end."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def begin(self, invocation: bytes) -> None:
        self.begun = False
        self._socket.settimeout(_START_TIMEOUT)
        self._send(invocation)

    def outcome(self, patience: float) -> Outcome:
        """The result of the running event. Raises TimeoutError if none of it arrives before the timeout."""
        end = time.monotonic() + patience
        answer = _BEGUN
        while answer == _BEGUN:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            answer = self._receive()
            self.begun = True
        return Outcome(answer[1:], failed=answer[:1] == b"!")

    def _send(self, content: bytes) -> None:
        try:
            self._socket.sendall(_LENGTH.pack(len(content)) + content)
        except OSError as error:
            raise WorkerDied from error

    def _receive(self) -> bytes:
        head = self._read(_LENGTH.size)
        # Once a result has begun to arrive, wait for all of it.
        self._socket.settimeout(_START_TIMEOUT)
        return self._read(_LENGTH.unpack(head)[0])

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self._socket.recv(min(size, 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise WorkerDied from error
            if not part:
                raise WorkerDied
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.close()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._socket.close()


class Pool:
    """The workers of one function."""

    def __init__(self, function: Function, environment: Mapping[str, str], log: Path, nursery: PreforkServer, cap: int):
        self.function = function
        self._nursery = nursery
        self._cap = cap
        self._configuration = json.dumps(
            {
                "name": function.name,
                "arn": function.arn,
                "code": str(function.code),
                "layers": [str(layer) for layer in function.layers],
                "handler": function.handler,
                "memory": function.memory,
                "environment": dict(environment),
                "log": str(log),
            }
        ).encode()
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._starting = 0
        self._waiting = 0
        self._failures: deque[Outcome] = deque()
        self._closed = False
        self._retiring = False

    # ---------------------------------------------------------------------------------------------- one event
    def invoke(self, event: Any, patience: float | None = None) -> Outcome:
        """Run one event. If it has not ended after `patience` seconds, raise StillRunning, and let the event run on."""
        give_up = None if patience is None else time.monotonic() + patience
        for _ in range(_TRIES):
            with contextlib.suppress(NotBegun):
                return self._tried(event, give_up)
        return _error("Runtime.ExitError", "Every worker that was given this event died before it began it")

    def _tried(self, event: Any, give_up: float | None) -> Outcome:
        """Run the event in one worker. Raises NotBegun if the worker died before."""
        worker = self._acquire(give_up)
        if worker is None:
            # Perhaps no worker has begun it, but it was accepted: it runs although its caller has gone.
            threading.Thread(target=self.invoke, args=(event,), daemon=True).start()
            raise StillRunning
        if isinstance(worker, Outcome):
            return worker
        request_id = str(uuid.uuid4())
        deadline = time.time() + self.function.timeout
        ends = time.monotonic() + self.function.timeout
        try:
            worker.begin(_invocation(request_id, deadline, event))
            until = ends if give_up is None else min(ends, give_up)
            outcome = worker.outcome(until - time.monotonic())
        except TimeoutError:
            if give_up is not None and give_up < ends:
                threading.Thread(target=self._see_out, args=(worker, event, ends, request_id), daemon=True).start()
                raise StillRunning from None
            return self._timed_out(worker, request_id)
        except WorkerDied:
            return self._died(worker, request_id)
        self._release(worker)
        return outcome

    def _see_out(self, worker: Worker, event: Any, ends: float, request_id: str) -> None:
        """Wait for the end of an event whose caller has gone."""
        try:
            worker.outcome(ends - time.monotonic())
        except TimeoutError:
            self._timed_out(worker, request_id)
        except WorkerDied:
            try:
                self._died(worker, request_id)
            except NotBegun:
                self.invoke(event)
        else:
            self._release(worker)

    def _timed_out(self, worker: Worker, request_id: str) -> Outcome:
        worker.kill()
        self._forget(worker)
        return _error(
            "Sandbox.Timedout",
            f"RequestId: {request_id} Error: Task timed out after {self.function.timeout:.2f} seconds",
        )

    def _died(self, worker: Worker, request_id: str) -> Outcome:
        worker.kill()
        self._forget(worker)
        if not worker.begun:
            raise NotBegun
        return _error("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited without providing a reason")

    # ------------------------------------------------------------------------------------------------ workers
    def _acquire(self, give_up: float | None) -> Worker | Outcome | None:
        with self._changed:
            self._waiting += 1
            try:
                if not self._idle and self._busy:
                    self._changed.wait(_PATIENCE)
                while True:
                    while self._idle:
                        worker = self._idle.pop()
                        if worker.alive():
                            self._busy.add(worker)
                            return worker
                        worker.close()
                    if self._failures:
                        return self._failures.popleft()
                    if self._closed:
                        return _error("ServiceException", "The local stack is stopping")
                    self._grow()
                    remaining = None if give_up is None else give_up - time.monotonic()
                    if remaining is not None and remaining <= 0:
                        return None
                    self._changed.wait(remaining)
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._failures.clear()

    def _grow(self) -> None:
        """Start workers for the waiting events. Called with the lock held."""
        size = len(self._idle) + len(self._busy) + self._starting
        while self._starting < min(self._waiting, _CORES) and size < self._cap:
            self._starting += 1
            size += 1
            threading.Thread(target=self._start, daemon=True).start()

    def _start(self) -> bool:
        worker, failure = None, None
        try:
            worker, failure = self._loaded()
        except WorkerDied:
            failure = _error("Runtime.ExitError", "Runtime exited without providing a reason")
        except TimeoutError:
            failure = _error("Sandbox.Timedout", "The function could not be loaded in time")
        except OSError as error:
            failure = _error("ServiceException", f"No worker can be started: {type(error).__name__}")
        with self._changed:
            self._starting -= 1
            if failure is not None or worker is None or self._closed:
                if worker is not None:
                    worker.kill()
                if failure is not None and self._waiting:
                    self._failures.append(failure)
            else:
                self._idle.append(worker)
            self._changed.notify_all()
        return failure is None

    def _loaded(self) -> tuple[Worker, Outcome | None]:
        """A worker with the loaded function, or the load error. A worker that dies meanwhile is replaced."""
        for left in reversed(range(_TRIES)):
            worker = None
            try:
                worker = Worker(self._nursery, self._configuration)
                return worker, worker.ready()
            except WorkerDied:
                if worker is not None:
                    worker.kill()
                if not left or self._closed:
                    raise
        raise WorkerDied

    def _release(self, worker: Worker) -> None:
        with self._changed:
            self._busy.discard(worker)
            if self._closed:
                worker.close()
            else:
                worker.idle_since = time.monotonic()
                self._idle.append(worker)
                self._retire_later()
            self._changed.notify()

    def _retire_later(self) -> None:
        """End a burst's extra workers after it: each takes 20 MB. Called with the lock held."""
        if len(self._idle) <= _KEPT or self._retiring:
            return
        self._retiring = True

        def retire() -> None:
            retired = []
            with self._changed:
                self._retiring = False
                quiet = time.monotonic() - _QUIET
                while len(self._idle) > _KEPT and self._idle[0].idle_since <= quiet:  # the longest idle first
                    retired.append(self._idle.pop(0))
                self._retire_later()
            for worker in retired:
                worker.close()

        timer = threading.Timer(_QUIET, retire)
        timer.daemon = True
        timer.start()

    def _forget(self, worker: Worker) -> None:
        with self._changed:
            self._busy.discard(worker)
            self._changed.notify()

    def warm(self) -> bool:
        """Start one worker; False if it cannot load the function."""
        with self._changed:
            if self._idle or self._busy or self._starting:
                return True
            self._starting += 1
        return self._start()

    @property
    def cap(self) -> int:
        return self._cap

    def close(self, end: float) -> None:
        """Let running events finish until `end` (monotonic), then kill the rest."""
        with self._changed:
            self._closed = True
            for worker in self._idle:
                worker.close()
            self._idle.clear()
            self._changed.notify_all()
            # A worker that is still loading has no event, and ends itself when its socket ends.
            while self._busy and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            for worker in self._busy:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)


def _invocation(request_id: str, deadline: float, event: Any) -> bytes:
    return json.dumps({"request_id": request_id, "deadline": deadline, "event": event}).encode()


class FunctionHost:
    """All functions that accept events, by name, ARN or logical id."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        environments: Mapping[str, Mapping[str, str]],
        logs: Path,
        nursery: PreforkServer,
        cap: int,
    ):
        self.pools: dict[str, Pool] = {}
        for logical_id, function in functions.items():
            pool = Pool(function, environments[logical_id], logs / f"{logical_id}.log", nursery, cap)
            for name in (logical_id, function.name, function.arn):
                self.pools[name] = pool

    def invoke(self, name: str, event: Any, patience: float | None = None) -> Outcome:
        return self.pools[name].invoke(event, patience)

    def close(self, grace: float) -> None:
        end = time.monotonic() + grace
        for pool in set(self.pools.values()):
            pool.close(end)
