"""convatlas data"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from convatlas.cli import output
from convatlas.numbers import counted

if TYPE_CHECKING:
    from convatlas.data import Check

FEW = 20
"""So many files of a kind are named; --json has all."""

data = App(name="data", help="Look after data sets.")


@data.command
def check(path: str, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Read every picture of a folder, and say what is wrong.

    Examples:

    `convatlas data check flowers/`

    `convatlas data check imagenet:/data/imagenet --json`

    Parameters
    ----------
    path
        A folder with a folder of pictures for each class, or with folders train, val and test that have these; for
        ImageNet's own layout imagenet:PATH.
    json
        Print one object.

    The exit status is 1 if a picture cannot be read, or the folder cannot be trained on as it is. Pictures that are in
    more than one split are told of, and leave it at 0.
    """
    from convatlas.data import checking

    found = checking.check(path)
    if json:
        output.print_json(found.to_json())
    else:
        print_check(found)
    return 0 if found.fine else 1


def print_check(found: Check) -> None:
    """The counts as a table, then what else there is to say; what is wrong goes to standard error."""
    from rich.text import Text

    console, errors = output.console(), output.console(stderr=True)
    splits = list(found.counts)
    names = sorted({name for classes in found.counts.values() for name in classes})
    titles = {split: f">{split or 'pictures'}" for split in splits}
    rows = [
        {"!class": _plain(name), **{titles[s]: _count(found.counts[s].get(name)) for s in splits}} for name in names
    ]
    total = {"!class": "all", **{titles[s]: _count(sum(found.counts[s].values())) for s in splits}}
    output.print_table([*rows, {}, total], ["!class", *titles.values()])

    def say(line: str, wrong: bool = False) -> None:
        (errors if wrong else console).print(Text(line, style="red" if wrong else ""), soft_wrap=True)

    if found.smallest and found.largest:
        for word, (file, width, height) in (("smallest", found.smallest), ("largest", found.largest)):
            say(f"{word}: {width} x {height}, {file}")
    others = {mode: count for mode, count in found.modes.items() if mode != "RGB"}
    if others:
        say("converted to RGB: " + ", ".join(f"{count:,} of {mode}" for mode, count in others.items()))
    if found.turned:
        say(f"turned upright by their EXIF: {found.turned:,}")
    if found.repeated:
        say(f"the same picture again in its class: {found.repeated:,}")
    if found.note:
        say(found.note)
    for groups, what in ((found.leaks, "in more than one split"), (found.conflicts, "in more than one class")):
        if groups:
            say(f"the same picture {what}: {len(groups):,}", wrong=True)
            for group in groups[:FEW]:
                say("  " + " = ".join(group), wrong=True)
            if len(groups) > FEW:
                say(f"  … and {len(groups) - FEW:,} more", wrong=True)
    for fault in found.faults:
        say(f"convatlas: {fault}", wrong=True)
    for _, reason in found.broken[:FEW]:
        say(f"convatlas: {reason}", wrong=True)
    if len(found.broken) > FEW:
        say(f"  … and {len(found.broken) - FEW:,} more", wrong=True)
    if found.broken:
        say(f"convatlas: {len(found.broken):,} of {found.pictures:,} pictures cannot be read", wrong=True)
    elif found.fine:
        say(f"{counted(found.pictures, 'picture')}, all can be read")


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _plain(name: str) -> str:
    """A folder's name may look like rich's markup."""
    from rich.markup import escape

    return escape(name)
