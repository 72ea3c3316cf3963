"""The command line: one file per verb; a mistake of the user's is one line and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cyclopts
from cyclopts import App

import convatlas
from convatlas.cli import (
    benchmark,
    calibrate,
    card,
    claims,
    compare,
    data,
    export,
    predict,
    quantize,
    recipe,
    scale,
    search,
    show,
    tour,
    train,
    visualize,
)
from convatlas.cli import list as list_
from convatlas.errors import ConvatlasError

app = App(
    name="convatlas",
    help="An atlas of convolutional networks: what they are, what they cost, and what they say of your pictures.",
    version=convatlas.__version__,
    help_epilogue="Each verb explains itself: convatlas VERB --help",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# The verbs' modules are light: what a verb needs to do its work is imported when it does it.
for verb in (list_.list, show.show, card.card, compare.compare, claims.claims, predict.predict, export.export,
             quantize.quantize, benchmark.benchmark, calibrate.calibrate, train.train, train.evaluate,
             scale.scale, search.search, recipe.recipe, data.data, tour.tour):  # fmt: skip
    app.command(verb)
app.command(visualize.app)
app.register_install_completion_command()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    tokens = sys.argv[1:] if arguments is None else [*arguments]
    try:
        status = app(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except (ConvatlasError, cyclopts.CycloptsError) as error:
        print(f"convatlas: {_one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone: `convatlas list | head`
        _no_more_output()
        return 0
    except OSError as error:  # a full disk
        _no_more_output()
        print(f"convatlas: {error.strerror or error}", file=sys.stderr)
        return 2
    return status if isinstance(status, int) else 0


def _no_more_output() -> None:
    """What is still to be flushed when the interpreter ends goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
