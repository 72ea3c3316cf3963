"""The registry: networks by name.

``@network(VARIANTS)`` on a builder registers one network per row; ``create`` builds one.  ``find`` and ``card`` read
the atlas' index and need no torch.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import json
import math
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas import carried, facts
from convatlas.errors import ConvatlasError, UnknownName, UnknownOption

if TYPE_CHECKING:
    from convatlas.net import ConvNet

Builder = Callable[..., "ConvNet"]

RUN = "run.json"
"""What a training run writes into its folder: what it was asked, and what came of it."""

PROGRAM = ".pt2"
OF_WEIGHTS = (".pth", ".pt", ".ckpt")
"""What files of weights alone end in."""
NO_MODEL = "a program of torch.export (.pt2) is read by torch.export.load, by no verb of convatlas"

SMALL_PICTURE = 96
"""Below this many pixels, a network meant for 224 gets a stem that does not shrink the picture at once."""


@dataclass(frozen=True)
class Entry:
    """One registered network: its builder and its row of the paper's table."""

    name: str
    build: Builder
    row: Mapping[str, Any]


_ENTRIES: dict[str, Entry] = {}


def network(variants: Mapping[str, Mapping[str, Any]]) -> Callable[[Builder], Builder]:
    """Register one network per row; a row holds the builder's keyword arguments."""

    def register(build: Builder) -> Builder:
        for name, row in variants.items():
            if name in _ENTRIES:
                raise ValueError(f"network {name!r} is registered twice")
            _ENTRIES[name] = Entry(name, build, row)
        return build

    return register


def create(
    name: str,
    *,
    classes: int | None = None,
    channels: int | None = None,
    input_size: int | None = None,
    attention: str | None = None,
    width: float | None = None,
    depth: float | None = None,
    dropout: float | None = None,
    drop_path: float | None = None,
    aux: bool | None = None,
    design: Mapping[str, Any] | None = None,
    initialise: bool = True,
) -> ConvNet:
    """Build a network by name; what is not given stays as the paper has it.

    classes, channels: of the output and of the input picture.
    input_size: pixels; a small picture (< 96) gives a network meant for 224 a small stem.
    attention: "se" puts a squeeze-and-excitation gate on every block, "none" takes the gates off.
    width, depth: multiply the channels (to multiples of 8) and the blocks that a stage repeats (rounded up, at least 1)
    of the paper's table; where the name says one already (mobilenet_v2_x0_5, efficientnet_b1), in its place.
    dropout, drop_path: probabilities; aux: build the auxiliary heads too.
    design: of MnasNet, another table of its search space: {"rows": …, "stem": …, "top": …}.
    initialise: False leaves the parameters unset, for when weights are loaded next.

    Raises UnknownName (did you mean …?) and UnknownOption for what this network does not have.
    """
    options = dict(
        classes=classes, channels=channels, input_size=input_size, attention=attention,
        width=width, depth=depth, dropout=dropout, drop_path=drop_path, aux=aux, design=design,
    )  # fmt: skip
    given = {option: value for option, value in options.items() if value is not None}
    entry = _entry(name)
    if given.get("attention") == "se" and _known(f"se_{name}"):
        del given["attention"]
        entry = _entry(f"se_{name}")
    _check(entry, given)

    from convatlas.blocks.init import skip_init

    with skip_init():
        net = entry.build(**{**entry.row, **given})
    net.name, net.options = entry.name, given
    if initialise:
        net.reset_parameters()
    return net


def record_of_run(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a training run says of itself in its folder; None where it holds no run.  A network's name is no folder."""
    path = Path(folder) / RUN
    if os.fspath(folder) in facts.index() or not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if {"network", "options"} <= found.keys() else None
    except (ValueError, AttributeError) as error:
        raise ConvatlasError(f"{path} is not what a run writes: {error}") from error


def record_of(model: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a run's folder or an exported file (.onnx, .safetensors) says of itself; None for any other model."""
    return record_of_run(model) or carried.read(model)


def refuse_missing(model: str | os.PathLike[str]) -> None:
    """Raises UnknownName, ConvatlasError for a MODEL that is not there, or is damaged: before anything else is asked,
    or done.  A spec (timm:NAME, file.py:Class) is looked at when it is made; a foreign .onnx may be run as it is."""
    name = os.fspath(model)
    if record_of(name) is not None or ":" in name or name in facts.index():
        return
    suffix = Path(name).suffix.lower()
    if suffix in OF_WEIGHTS and Path(name).is_file():
        raise ConvatlasError(f"{name} holds weights, and no network: name it, with --weights {name}")
    if suffix in (*carried.SUFFIXES, *OF_WEIGHTS, PROGRAM):
        if suffix != ".onnx" or not Path(name).is_file():
            raise unknown(name, facts.index())
    elif os.sep in name:
        raise ConvatlasError(f"no run in {name}: it has no {RUN} that a run wrote")
    else:
        _entry(name)


def unknown(name: str, known: Iterable[str]) -> ConvatlasError:
    """The error for a MODEL that is none of ``known``: of a file why it is none, of a name what was near."""
    path = Path(name)
    kind = path.suffix.lower()
    if kind == PROGRAM:
        return ConvatlasError(f"{name}: {NO_MODEL}")
    if kind not in (*carried.SUFFIXES, *OF_WEIGHTS):
        return UnknownName("network", name, known)
    if not path.is_file():
        return ConvatlasError(f"no file {name}")
    if kind == ".onnx":
        return ConvatlasError(f"{name} carries no network of the atlas, for another program wrote it: `convatlas "
                              "benchmark` times it, other verbs take files that `convatlas export` wrote")  # fmt: skip
    return ConvatlasError(f"{name} does not say of which network it is; name the network, and the file as --weights")


def data_of(model: str | os.PathLike[str]) -> str | None:
    """On which data a run was trained, or the run of an exported file; None of any other model."""
    told = record_of(model) or {}
    told = told.get("run") or told
    return told["setup"]["data"] if "setup" in told else None


def of_record(model: str | os.PathLike[str]) -> ConvNet:
    """The network of a run's folder or an exported file, its parameters unset."""
    record = record_of(model)
    if record is None:
        raise ConvatlasError(
            f"{os.fspath(model)} is neither a run's folder (it has no {RUN}) nor a file that was exported"
        )
    if ":" in record["network"]:
        raise ConvatlasError(f"{os.fspath(model)} holds {record['network']}, which is no network of the atlas")
    return create(record["network"], **record["options"], initialise=False)


def names() -> list[str]:
    """Every registered network, in the order of the line (imports all of ``nets``, and so torch)."""
    nets = importlib.import_module("convatlas.nets")
    for module in pkgutil.iter_modules(nets.__path__):
        importlib.import_module(f"{nets.__name__}.{module.name}")
    order = {name: place for place, name in enumerate(facts.networks())}
    return sorted(_ENTRIES, key=lambda name: order.get(name, len(order)))


def options(name: str) -> tuple[str, ...]:
    """The options of ``create`` that this network takes."""
    accepted = inspect.signature(_entry(name).build).parameters
    return tuple(option for option in inspect.signature(create).parameters if option in accepted)


def default(name: str, option: str) -> Any:
    """What a network has where ``create`` is not told an option: its row's value, or its builder's.

    Raises UnknownOption for one that it does not take.
    """
    entry = _entry(name)
    _check(entry, {option: entry.row.get(option, 1)})
    return entry.row.get(option, inspect.signature(entry.build).parameters[option].default)


def module_of(name: str) -> str:
    """The module under ``convatlas.nets`` in which the network is written."""
    return _entry(name).build.__module__.rpartition(".")[2]


# ---- the catalogue: what is known without building anything ------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What the atlas knows of one network.

    year: of publication; of a form that nobody published, that of the network it departs from.
    params: trainable parameters; macs: multiply-adds of convolutions and linear layers for one picture of
    channels x input_size x input_size; weights: the sources of published weights; facts: what the papers print.
    """

    name: str
    title: str
    family: str
    year: int | None
    module: str
    channels: int
    input_size: int
    classes: int
    params: int
    macs: int
    weights: tuple[str, ...] = ()
    with_aux: Mapping[str, int] | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """The network's entry of networks.toml: what the papers print, with their sources."""
        return facts.networks().get(self.name, {})

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, for programs."""
        return asdict(self)


def card(name: str) -> Card:
    """A network's card.  Raises UnknownName (did you mean …?)."""
    if ":" in name:
        raise ConvatlasError(f"{name} is no network of the atlas; `convatlas show {name}` looks at any network")
    if name not in facts.index():
        raise unknown(name, facts.index())
    return _card(name)


def find(
    pattern: str | Iterable[str] = "*",
    *,
    family: str | None = None,
    year: int | tuple[int, int] | None = None,
    params_below: float | None = None,
    params_above: float | None = None,
    macs_below: float | None = None,
    macs_above: float | None = None,
    has: Iterable[str] = (),
) -> list[Card]:
    """The cards of all networks that fit, in natural order of their names (x0_5 before x1_0, 18 before 101).

    pattern: one glob, or several of which any may match; family: by its name, in any case.
    year: one, or the first and the last.  macs count one picture at the network's own input size.
    has: capabilities, of which there is "weights" (published weights that fit).

    Raises UnknownName for a family, a capability, or a name without wildcards that does not exist.
    """
    patterns = _listed(pattern)
    for name in patterns:
        if not any(c in name for c in "*?[") and name not in facts.index():
            raise unknown(name, facts.index())
    cards = [_card(name) for name in sorted(facts.index(), key=natural)]
    families = {c.family.lower(): c.family for c in cards}
    if family is not None and family.lower() not in families:
        raise UnknownName("family", family, families.values())
    wanted = set(_listed(has))
    if strange := wanted - {"weights"}:
        raise UnknownName("capability", min(strange), ["weights"])
    first, last = (year, year) if isinstance(year, int) else year or (None, None)

    def fits(c: Card) -> bool:
        return (
            any(fnmatch.fnmatchcase(c.name, p) for p in patterns)
            and (family is None or c.family.lower() == family.lower())
            and (first is None or last is None or (c.year is not None and first <= c.year <= last))
            and (params_below is None or c.params < params_below)
            and (params_above is None or c.params > params_above)
            and (macs_below is None or c.macs < macs_below)
            and (macs_above is None or c.macs > macs_above)
            and ("weights" not in wanted or bool(c.weights))
        )

    return [c for c in cards if fits(c)]


def natural(name: str) -> list[tuple[float, str]]:
    """A sort key by which numbers inside a name count as numbers, and x0_25 as a width of 0.25."""
    parts = re.split(r"((?<=_x)\d_\d+|\d+)", name)
    return [(float(part.replace("_", ".")), "") if part[:1].isdigit() else (-1.0, part) for part in parts]


def _card(name: str) -> Card:
    entry = facts.index()[name]
    return Card(name, **{**entry, "weights": tuple(entry["weights"])})


def _listed(items: str | Iterable[str]) -> list[str]:
    return [items] if isinstance(items, str) else list(items)


# ---- building ---------------------------------------------------------------------------------------------


def _check(entry: Entry, given: Mapping[str, Any]) -> None:
    accepted = options(entry.name)
    for option, value in given.items():
        if option not in accepted:
            why = "no blocks that could carry a gate" if option == "attention" else f"no option {option!r}"
            raise UnknownOption(f"{entry.name} has {why}; it takes {', '.join(accepted)}")
        if option in ("classes", "channels", "input_size") and (not isinstance(value, int) or value < 1):
            raise ConvatlasError(f"{option} must be a whole number of at least 1, not {value!r}")
        if option in ("dropout", "drop_path") and not 0 <= value < 1:
            raise ConvatlasError(f"{option} is a probability in [0, 1), not {value!r}")
        if option in ("width", "depth") and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ConvatlasError(f"{option} must be a number greater than 0, not {value!r}")


def _known(name: str) -> bool:
    return name in _ENTRIES or name in facts.index() or name in names()


def _entry(name: str) -> Entry:
    if name not in _ENTRIES and name in facts.index():
        importlib.import_module(f"convatlas.nets.{facts.index()[name]['module']}")
    if name not in _ENTRIES:
        names()
    if name not in _ENTRIES:
        raise unknown(name, _ENTRIES)
    return _ENTRIES[name]
