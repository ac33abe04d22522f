"""A stop is noticed whenever it arrives."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from scripts.dev.bell import Bell
from scripts.project.template import ROOT

# Signals as fast as they come, while the thread that handles them looks at the bell again and again.
STORM = """
import signal, sys, time
from scripts.dev.bell import Bell
bells = [Bell()]
bells[-1].ring_at(signal.SIGALRM)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.00005)
end, heard = time.monotonic() + 1.5, 0
while time.monotonic() < end:
    heard += bells[-1].wait(0.0001)
signal.setitimer(signal.ITIMER_REAL, 0)
print(heard)
"""


def test_a_signal_that_comes_while_the_bell_is_waited_for_does_not_hang() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STORM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 100


def test_a_bell_that_was_rung_stays_so_and_wakes_whoever_waits() -> None:
    bell = Bell()
    assert not bell.wait(0)
    threading.Timer(0.1, bell.ring).start()
    began = time.monotonic()
    assert bell.wait()
    assert time.monotonic() - began < 5
    for _ in range(100_000):
        bell.ring()
    assert bell.wait(0)


def test_a_signal_that_interrupts_another_thread_ends_a_wait_at_once() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    bell = Bell()
    bell.ring_at(signal.SIGUSR1)
    try:
        threading.Timer(0.1, signal.raise_signal, (signal.SIGUSR1,)).start()  # in the timer's thread
        began = time.monotonic()
        assert bell.wait(5)
        assert time.monotonic() - began < 4
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
