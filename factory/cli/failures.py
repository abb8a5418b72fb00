"""What a failing command prints, and its exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


def say(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn an exception into one message and an exit status.

    ``FACTORY_DEBUG=1`` lets it through with its traceback instead.

    Raises:
        SystemExit: With the error's ``exit_code``; 130 after an interrupt; 1 when unforeseen.
    """
    from factory.cli.output import write_what_can_be
    from factory.errors import FactoryError

    write_what_can_be()
    try:
        yield
    except KeyboardInterrupt:
        say("factory: interrupted: no result was kept")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader went away (`factory query … | head`). Python flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except FactoryError as error:
        if debugging():
            raise
        say(str(error))
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        # The last line of defence: whatever it is, the user gets a message, not a traceback.
        if debugging():
            raise
        say(f"factory: {type(error).__name__}: {error}")
        say("This is a fault of the program. FACTORY_DEBUG=1 shows where; please report it.")
        raise SystemExit(1) from None


def debugging() -> bool:
    """Whether tracebacks were asked for."""
    return os.environ.get("FACTORY_DEBUG", "") not in {"", "0"}
