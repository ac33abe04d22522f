"""Stands between the supervisor and one function's server: `keeper.py FD SECONDS COMMAND…`, run as a file.

The server ends when this does what it is there for: the pipe FD reads its end when the supervisor has died, and then
the server takes no more calls, finishes for at most SECONDS those under way, and goes. This process lives exactly as
long, and holds the lifeline of whatever the server needs to finish.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def see_out(server: subprocess.Popen[bytes], supervisor: int, seconds: float) -> None:
    while os.read(supervisor, 1):
        pass
    server.terminate()
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()


def main() -> None:
    supervisor, seconds, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: None)  # they are for the server, which is of the same group
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=see_out, args=(server, supervisor, seconds), daemon=True).start()
    status = server.wait()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
