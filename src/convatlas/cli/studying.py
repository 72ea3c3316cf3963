"""What the verbs of scaling and search share: a study's progress, and what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.cli import output
from convatlas.numbers import short

if TYPE_CHECKING:
    from convatlas.scaling.results import Result


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


def folder_of(what: str, data: str) -> Path:
    """studies/WHAT-DATA, DATA being the folder's or file's own name."""
    name = Path(data.partition(":")[2]).resolve().stem if ":" in data else data
    return Path("studies") / f"{what}-{name}"


def running(readers: int) -> Any:
    from convatlas.train.running import Running

    return Running(readers=readers)


def worked(work: Any, folder: Path, quiet: bool, json: bool) -> int:
    """Do a study's work with progress; print what came of it."""
    from convatlas.train.asked import RESUME_ME, Stopped

    with Studying(quiet) as watch:
        try:
            found = work(watch)
        except (Stopped, KeyboardInterrupt):
            watch.say("stopped; what is finished is kept: the same command goes on")
            return RESUME_ME
    if json:
        output.print_json({"folder": str(folder), **found.to_json()})
        return 0
    print_result(found)
    output.console().print(f"everything is in {folder}, the report in {folder / 'report.html'}", soft_wrap=True)
    return 0


def print_result(found: Result) -> None:
    """The candidates, the best first, and what must be said."""
    from convatlas.scaling.results import mean_and_spread, ordered

    on = {one.name for one in found.front()}
    timed = any(one.latency is not None for one in found.candidates)
    rows = [
        {"!candidate": f"[bold]{one.name}[/]" if one.name == found.best else one.name,
         **({"!kind": one.kind} if one.kind != "searched" else {}),
         ">accuracy": mean_and_spread(one), ">MACs": short(one.macs), ">params": short(one.params),
         **({">predicted": "" if one.latency is None else f"{1e3 * one.latency:.3g} ms"} if timed else {}),
         "front": "●" if one.name in on else ""}
        for one in ordered(found.candidates)
    ]  # fmt: skip
    console = output.console()
    output.print_table(rows, [*rows[0]], title=f"[bold]{found.title}[/]")
    for line in (*found.about, *found.notes):
        console.print(line, style="dim")
