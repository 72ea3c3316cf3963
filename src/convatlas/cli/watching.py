"""A run's progress on the terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from convatlas.cli import output


class Watching:
    """A bar for the run with epoch, loss, accuracy, pictures a second and the time left; where there is no terminal, a
    line an epoch.  Called with what the loop tells: ("about" | "begin" | "step" | "epoch", figures)."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None
        self.last = 0.0
        self.figures: dict[str, Any] = {}

    def __enter__(self) -> Watching:
        if not self.quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"), TimeRemainingColumn(), console=output.console(stderr=True),
            )  # fmt: skip
            self.bar.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self.bar is not None:
            self.bar.__exit__(*problem)

    def __call__(self, event: str, figures: dict[str, Any]) -> None:
        if self.quiet:
            return
        if event == "about":
            self.say(figures["text"])
            return
        self.figures |= figures
        f = self.figures
        if event == "begin" and self.bar is not None:
            self.task = self.bar.add_task("training", total=f["last"], completed=f["done"], figures="")
        elif event == "step" and self.bar is not None and time.monotonic() - self.last > 0.1:
            self.last = time.monotonic()
            text = (f"epoch {f['epoch']:.1f} of {f['epochs']:g}  loss {f['loss']:.3f}  {100 * f['accuracy']:.1f} %  "
                    f"{f['images_per_second']:,.0f}/s")  # fmt: skip
            self.bar.update(self.task, completed=f["step"], figures=text)
        elif event == "epoch":
            text = (f"epoch {f['epoch']:g}: validation {100 * figures['accuracy']:.2f} %, loss {figures['loss']:.4f}, "
                    f"{f.get('images_per_second', 0):,.0f} pictures a second")  # fmt: skip
            self.say(text)

    def say(self, text: str) -> None:
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
