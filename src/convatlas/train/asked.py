"""A run that is asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RESUME_ME = 75
"""Exit status of a run that was asked to stop and can be resumed: EX_TEMPFAIL of sysexits.h."""


class Stopped(Exception):
    """The run was asked to stop (SIGTERM, SIGINT) and has saved a checkpoint."""


class Asked:
    """by: the signal that has asked to stop, None while none has."""

    def __init__(self) -> None:
        self.by: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it SIGTERM and SIGINT only ask; a second SIGINT does not wait."""

        def ask(number: int, frame: Any) -> None:
            if self.by == number == signal.SIGINT:
                raise KeyboardInterrupt
            self.by = number

        before = {}
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                before[number] = signal.signal(number, ask)
        except ValueError:  # not in the main thread
            pass
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
