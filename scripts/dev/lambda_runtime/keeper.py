"""The parent process of one function's server, below the supervisor: `keeper.py FD SECONDS COMMAND…`, run as a file.

The pipe FD reaches its end when the supervisor dies. The keeper then stops the server, which accepts no more calls and
has at most SECONDS to finish the running ones. The keeper ends with the server. Until then it holds open the lifeline
of the services that the server needs to finish.
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
        signal.signal(sent, lambda *_: None)  # the signals are for the server, in the same process group
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=see_out, args=(server, supervisor, seconds), daemon=True).start()
    status = server.wait()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
