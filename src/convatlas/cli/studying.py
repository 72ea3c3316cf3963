"""A study's progress on the terminal."""

from __future__ import annotations

import sys
from typing import Any

from convatlas.cli import output
from convatlas.numbers import short


class Studying:
    """A bar over the tasks with what is at work; where there is no terminal, a line a candidate.  Called with what
    ``train_grid`` and ``search`` tell."""

    def __init__(self, quiet: bool):
        self.quiet, self.doing = quiet, ""
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Studying:
        if not self.quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=output.console(stderr=True),
            )  # fmt: skip
            self.bar.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self.bar is not None:
            self.bar.__exit__(*problem)

    def __call__(self, event: str, figures: dict[str, Any]) -> None:
        if event == "begin":
            if figures["done"]:
                self.say(f"{figures['done']} are finished already, of {figures['total']} that are asked for")
            if self.bar is not None:
                self.task = self.bar.add_task("", total=figures["total"], completed=figures["done"])
        elif event == "candidate":
            seed = f", seed {figures['seed']}" if "seed" in figures else ""
            self.doing = f"{figures['name']}{seed}: {short(figures['macs'])} multiply-adds"
            self._show()
        elif event == "epoch":
            self._show(f", epoch {figures['epoch']} {100 * figures['accuracy']:.1f} %")
        elif event == "finished":
            halved = f", halved after epoch {figures['halved']}" if "halved" in figures else ""
            self.say(f"{self.doing}, {100 * figures['accuracy']:.2f} %{halved}")
            if self.bar is not None:
                self.bar.update(self.task, completed=figures["done"])
        elif event == "waiting":
            self._show(text="waiting for the other processes of this study")

    def _show(self, more: str = "", text: str | None = None) -> None:
        if self.bar is not None:
            self.bar.update(self.task, description=self.doing + more if text is None else text)

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
