"""convatlas recipe list, convatlas recipe show"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from convatlas import registry
from convatlas.cli import output
from convatlas.errors import UnknownName

if TYPE_CHECKING:
    from convatlas.train.recipe import Recipe

GROUPS = {
    "Length and batch": ("epochs", "batch", "reference_batch", "accumulate"),
    "Step": (
        "optimizer", "learning_rate", "momentum", "decay", "eps", "weight_decay", "decay_all", "clip", "ema",
    ),
    "Course of the learning rate": ("schedule", "steps", "every", "factor", "warmup", "warmup_from", "final"),
    "Pictures": (
        "size", "test_size", "test_crop", "crop", "padding", "scale", "ratio", "flip", "shift", "colour", "policy",
        "erase", "mixup", "cutmix",
    ),
    "Loss and network": ("smoothing", "aux_weight", "dropout", "drop_path", "init"),
    "How it runs": ("precision", "channels_last", "checkpointing"),
}  # fmt: skip

recipe = App(name="recipe", help="How the networks are trained: their papers' recipes, and those of today.")


@recipe.command(name="list")
def list_(*patterns: str, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List the recipes of the networks.

    Examples:

    `convatlas recipe list`

    `convatlas recipe list resnet50`

    `convatlas recipe list 'densenet*' --json`

    Parameters
    ----------
    patterns
        Names of networks, with * and ? as wildcards; any may match.
    json
        Print an array with one object a recipe.
    """
    from convatlas.train.recipe import recipes

    found = [
        (card.name, kind, entry)
        for card in registry.find(patterns or "*")
        for kind, entry in sorted(recipes(card.name).items(), key=lambda item: item[0] != "paper")
    ]
    if json:
        output.print_json([{"network": name, "kind": kind, **_plain(entry)} for name, kind, entry in found])
        return
    if not found:
        output.console(stderr=True).print("no network of the atlas fits")
        return
    rows = [
        {
            "!network": f"[bold]{name}[/]",
            "!kind": kind,
            ">epochs": _value(entry.epochs),
            ">batch": _value(entry.batch),
            "!optimizer": entry.optimizer,
            "what it is": entry.title,
        }
        for name, kind, entry in found
    ]
    output.print_table(rows, [*rows[0]], spare=("what it is",))


@recipe.command
def show(
    network: str,
    /,
    *,
    recipe: str = "modern",
    data: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show a recipe: every value that it sets, and where that comes from.

    Examples:

    `convatlas recipe show resnet50 --recipe paper`

    `convatlas recipe show lenet5_modern --data mnist --json`

    `convatlas recipe show resnet18 --data folder:flowers/`

    Parameters
    ----------
    network
        A name from `convatlas list`.
    recipe
        Its kind: paper or modern.
    data
        The data set, as for `convatlas train`: one with a recipe of its own goes before the network's modern.
    json
        Print every value as JSON, those that are not set included.
    """
    from convatlas.data.loading import KINDS
    from convatlas.train.recipe import recipe as recipe_of

    card = registry.card(network)
    kind = None if data is None else data.partition(":")[0]
    if kind is not None and kind not in KINDS:
        raise UnknownName("data set", kind, KINDS)
    found = recipe_of(network, recipe, kind)
    if json:
        output.print_json({"network": card.name, "kind": recipe, **_plain(found)})
    else:
        _print(card.name, recipe, found)


def _print(name: str, kind: str, found: Recipe) -> None:
    console = output.console()
    console.print(f"[bold]{name}[/], {kind}: {found.title}")
    for title, fields in GROUPS.items():
        rows = [
            {"!": field, ">value": _value(getattr(found, field)), "source": found.sources.get(field, "")}
            for field in fields
            if field in found.model_fields_set
        ]
        if rows:
            output.print_table(rows, [*rows[0]], title=title)
    if found.note:
        console.print(f"Note: {found.note}", style="dim")


def _plain(entry: Recipe) -> dict[str, Any]:
    return entry.model_dump(mode="json")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
