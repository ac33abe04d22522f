"""The end of a command: an error is one sentence with its remedy, never a traceback.

Exit code 2 means an error that the user can correct; a command's own codes stay. This module imports no SDK: a command
that only prints its help must start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

FAILED = 1
TO_BE_PUT_RIGHT = 2
INTERRUPTED = 130  # 128 + SIGINT, as in shells


class WrongUse(Exception):
    """A user error: one sentence for the user of the command."""


class CommandFailedError(Exception):
    """One sentence about a fault that the command found, or that stopped it: exit code 1."""


PATHS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


def run(main: Callable[[], int | None]) -> int:
    """Run a command; returns its exit code."""
    # The AWS CLI, SAM and every other SDK read AWS_REGION; boto3 reads only the older name.
    if region := os.environ.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    try:
        done = main() or 0
        sys.stdout.flush()
    except WrongUse as error:
        return _refused(str(error))
    except CommandFailedError as error:
        return _refused(str(error), FAILED)
    except PATHS as error:
        return _refused(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it; Python must not flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from scripts.project.refusals import REFUSALS, sentence

        if not isinstance(error, REFUSALS):
            raise
        return _refused(sentence(error))
    return done


def _refused(said: str, code: int = TO_BE_PUT_RIGHT) -> int:
    print(said, file=sys.stderr)
    return code
