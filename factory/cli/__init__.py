"""The command line: thin Typer commands over the layers below."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command named by ``sys.argv`` and leave with its exit status.

    Raises:
        SystemExit: Always: 0 done, 1 a simulation or a check failed, 2 bad input, 130 interrupted.
    """
    import signal

    # A shell starts background jobs with SIGINT ignored; one that is sent all the same is meant.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from factory.cli.app import app

        app()
    except KeyboardInterrupt:
        import sys

        print("factory: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
