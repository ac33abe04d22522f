"""How a command that somebody typed ends: a mistake is a sentence that says what to do, never a traceback.

Exit code 2 is for what the person who typed it can put right; a command's own codes stay. Nothing of an SDK is imported
here: a command that only prints its help must start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

FAILED = 1
TO_BE_PUT_RIGHT = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class WrongUse(Exception):
    """One sentence for whoever typed the command."""


class CommandFailedError(Exception):
    """One sentence about a fault that the command found or met: exit code 1."""


PATHS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


def run(main: Callable[[], int | None]) -> int:
    """Run a command to its exit code."""
    # The AWS CLI, SAM and every other SDK read AWS_REGION; boto3 reads the older name alone.
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
        # Whoever read the output, such as `head`, has had enough; Python must not flush what is left.
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
