"""SQS: moto's queues, with long polling without a lock, and a journal of messages."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moto.sqs.models import Message, Queue, sqs_backends

from scripts.dev.moto_aws.journal import Journal
from scripts.project import template

_CHANGES = {
    "SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch",
    "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "PurgeQueue",
}  # fmt: skip
_LOOK_AGAIN = 0.2  # seconds: a hidden message returns without any request


class Queues:
    """The messages of all queues, stored in a journal."""

    def __init__(self, path: Path, region: str):
        self.lock = threading.RLock()
        self._arrived = threading.Condition(self.lock)
        self._journal = Journal(path)
        self._backend: Any = sqs_backends[template.ACCOUNT][region]
        self._known: dict[str, dict[str, tuple[Any, ...]]] = {}

    def load(self, queues: list[template.Queue]) -> None:
        """Create the queues and load their stored messages, hidden for the rest of their timeouts."""
        for queue in queues:
            self._backend.create_queue(queue.name, {}, **queue.attributes)
        messages: dict[tuple[str, str], Message] = {}
        states: dict[tuple[str, str], list[Any]] = {}

        def restore(key: str, value: Any) -> bool:
            name, message_id, part = json.loads(key)
            if part == "message":
                messages[name, message_id] = _restored(message_id, value)
            else:
                states[name, message_id] = value
            return True

        self._journal.open(restore)
        for (name, message_id), message in messages.items():
            if name not in self._backend.queues:
                continue
            visible_at, delayed_until, received, first = states.get((name, message_id)) or (0.0, 0.0, 0, None)
            message.visible_at, message.delayed_until = visible_at, delayed_until
            message.approximate_receive_count, message.approximate_first_receive_timestamp = received, first
            self._backend.queues[name]._messages.append(message)
            self._known.setdefault(name, {})[message_id] = _state(message)

    def wait(self, queue_name: str, seconds: float) -> None:
        """Return when a message can be received, or after so many seconds."""
        end = time.monotonic() + seconds
        with self._arrived:
            while (left := end - time.monotonic()) > 0:
                queue = self._backend.queues.get(queue_name)
                if queue is None or queue.messages:
                    return
                self._arrived.wait(min(left, _LOOK_AGAIN))

    def patience(self, queue_name: str, asked: int | None) -> int:
        """The wait time of a receive: its own, or its queue's."""
        if asked is not None:
            return asked
        queue = self._backend.queues.get(queue_name)
        return int(queue.receive_message_wait_time_seconds) if queue else 0

    @contextlib.contextmanager
    def request(self, queue_name: str) -> Iterator[None]:
        """Hold the lock on the queues. A request that cannot be written to the journal is rolled back."""
        with self.lock:
            before = [self._remembered(queue) for queue in self._reached(queue_name)]
            try:
                yield
            except BaseException:
                for undo in before:
                    undo()
                raise

    def _reached(self, queue_name: str) -> list[Queue]:
        """A queue, and its dead-letter queue."""
        queue = self._backend.queues.get(queue_name)
        return [each for each in (queue, queue and queue.dead_letter_queue) if each is not None]

    def _remembered(self, queue: Queue) -> Callable[[], None]:
        """The undo function that restores a queue's present state."""
        collections = {name: copy.copy(value) for name, value in vars(queue).items() if isinstance(value, list | set)}
        messages = [(message, dict(vars(message))) for message in queue._messages]
        known = dict(self._known.get(queue.name, {}))

        def undo() -> None:
            vars(queue).update(collections)
            for message, attributes in messages:
                vars(message).update(attributes)
            self._known[queue.name] = known

        return undo

    def written(self, operation: str, queue_name: str) -> None:
        """Store the changes of a successful request. Called within `request`. Raises OSError."""
        if queue_name not in self._backend.queues or operation not in _CHANGES:
            return
        self._journal.write([change for each in self._reached(queue_name) for change in self._changes(each)])
        if operation.startswith(("Send", "Change")):
            self._arrived.notify_all()

    def _changes(self, queue: Queue) -> Iterator[tuple[str, Any]]:
        known = self._known.setdefault(queue.name, {})
        gone = set(known)
        for message in queue._messages:
            gone.discard(message.id)
            state = _state(message)
            if message.id not in known:
                yield _key(queue, message.id, "message"), _kept(message)
            if known.get(message.id) != state:
                yield _key(queue, message.id, "state"), list(state)
            known[message.id] = state
        for message_id in gone:
            del known[message_id]
            yield _key(queue, message_id, "message"), None
            yield _key(queue, message_id, "state"), None


def _key(queue: Queue, message_id: str, part: str) -> str:
    return json.dumps([queue.name, message_id, part])


def _state(message: Message) -> tuple[Any, ...]:
    return (
        message.visible_at,
        message.delayed_until,
        message.approximate_receive_count,
        message.approximate_first_receive_timestamp,
    )


_KEPT = (
    "body",
    "message_attributes",
    "system_attributes",
    "sent_timestamp",
    "deduplication_id",
    "group_id",
    "sequence_number",
)


def _kept(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _KEPT}


def _restored(message_id: str, kept: dict[str, Any]) -> Message:
    message = Message(message_id, kept["body"], kept["system_attributes"])
    for name in _KEPT:
        setattr(message, name, kept[name])
    return message
