"""A run's figures: a line of JSON each, and the progress on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole

METRICS = "metrics.jsonl"


class Log:
    """``metrics.jsonl`` of a run; nothing is written by processes other than the first."""

    def __init__(
        self, run: Path, first: bool, *, upto: int | None = None, validated: int = 0, tensorboard: bool = False
    ):
        """upto: of a run that is resumed, the steps that are done; later rows are dropped.  None: begin anew.
        validated: the steps after which it was last validated; rows of later validations are dropped.

        tensorboard: write the figures to ``run/tensorboard`` too.
        """
        self._file, self._board = None, None
        if not first:
            return
        path = run / METRICS
        kept = [] if upto is None or not path.exists() else [row for row in rows(path) if _before(row, upto, validated)]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
        self._file = path.open("a", encoding="utf-8", buffering=1 << 16)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(run / "tensorboard", purge_step=0 if upto is None else upto + 1)

    def write(self, split: str, epoch: float, step: int, **figures: Any) -> None:
        if self._file is not None:
            with self._told():
                self._file.write(json.dumps({"epoch": epoch, "step": step, "split": split, **figures}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{name}/{split}" if name != "learning_rate" else name, value, step)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            assert self._file is not None
            name, self._file = self._file.name, None  # it would try again to write what it holds
            raise ConvatlasError(f"{name} cannot be written: {error}") from error

    def flush(self) -> None:
        """Raises ConvatlasError where the disk is full."""
        if self._file is not None:
            with self._told():
                self._file.flush()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _before(row: dict[str, Any], done: int, validated: int) -> bool:
    """Whether a row is older than the checkpoint of so many steps; training rows count from 0, others what is done."""
    return bool(row["step"] <= validated if row["split"] == "validation" else row["step"] < done)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of metrics; a last line that a kill cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
