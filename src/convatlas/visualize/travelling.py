"""Journey: a picture's path through a whole network, stage by stage, to its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.graph.model import Graph
from convatlas.graph.source import graph_of, own_size
from convatlas.net import ConvNet
from convatlas.visualize.maps import Activations, by_strength, plain, prepared, scale_of
from convatlas.visualize.shown import Shown
from convatlas.visualize.sights import Sight, sights
from convatlas.visualize.taps import aside, name_of, path_of, unread
from convatlas.weights.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

FEW = 6
"""A module with fewer children than this that give maps has its plain sequences opened."""
TOP = 5


@dataclass(frozen=True)
class Stage:
    """One stop on the way.  activations: with the channels by strength.  sight: None where it cannot be known.

    answer: it is what the network gives.
    """

    activations: Activations
    sight: Sight | None
    answer: bool = False

    @property
    def name(self) -> str:
        return self.activations.layer


@dataclass(frozen=True)
class Journey:
    """picture: what the network saw.  labels: of all classes.  answers: the likeliest (class, probability); none of a
    network that does not classify."""

    network: str
    picture: Image.Image = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    answers: tuple[tuple[int, float], ...]

    def figure(self, *, channels: int = 6) -> Any:
        """A matplotlib figure: the picture, each stage's strongest channels, the answers."""
        from convatlas.visualize.journey_figure import draw

        return draw(self, channels)

    def page(self, *, channels: int = 32) -> str:
        """An HTML page that needs nothing else: any unit's value, and what it sees.

        channels: the strongest of each stage; of maps larger than 112 x 112 so many fewer as they are larger.
        """
        from convatlas.visualize.journey_page import write

        return write(self, channels)

    def save(self, path: str | Path) -> None:
        """Written whole or not at all: the page as .html, the figure as .png, .svg or .pdf."""
        path = Path(path)
        kind = kind_of(path)
        if kind == "html":
            text = self.page()
            write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
        else:
            made, undated = self.figure(), {"Date": None} if kind == "svg" else None
            write_whole(path, lambda beside: made.savefig(beside, format=kind, dpi=150, metadata=undated))


def kind_of(path: Path) -> str:
    """ "html", "png", "svg" or "pdf", by a file's name.  Raises ConvatlasError for any other."""
    kinds = {".html": "html", ".htm": "html", ".png": "png", ".svg": "svg", ".pdf": "pdf"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise ConvatlasError(f"{path} should end in .html, .png, .svg or .pdf")
    return kind


def journey(
    net: nn.Module,
    picture: Any,
    *,
    layers: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
) -> Journey:
    """Follow a picture through any module, in one pass.

    picture: as ``activations`` takes it.
    layers: the stops; by default the module's children in the order in which they run, its plain sequences opened
    where it has few; what only hands on what came before is left out.

    Raises UnknownName for a layer that does not exist; ConvatlasError where one does not run, or gives neither maps nor
    a vector, and where nothing does.
    """
    seen, x = prepared(net, picture, preprocess)
    chosen = [path_of(net, layer) for layer in layers] if layers is not None else None
    with aside(net), torch.no_grad():
        out, found = _followed(net, x, chosen if chosen is not None else _children(net, opened=True))
        graph = _graph(net, x)
    if chosen is None:
        found = _not_too_many(net, found)
    else:
        for path in chosen:
            if path not in found:
                raise ConvatlasError(f"{path} of {name_of(net)} does not run in the forward pass, or gives no tensor")
    logits = plain(out) if isinstance(out, Tensor) else None
    stages: list[Stage] = []
    for path, (given, runs) in found.items():
        values = plain(given)
        if values is None and chosen is not None:
            raise ConvatlasError(f"{path} of {name_of(net)} gives neither maps nor a vector")
        if values is None or (chosen is None and stages and _same(values, stages[-1].activations.values)):
            continue
        name = path.removeprefix("trunk.").removeprefix("head.")
        shown = Activations(name_of(net), name, values, seen, by_strength(values), scale_of(values, name))
        sight = _sight_of(graph, path, given) if runs == 1 else None
        stages.append(Stage(shown, sight, answer=logits is not None and values.dim() == 1 and _same(values, logits)))
    if chosen is None and not any(stage.activations.maps for stage in stages):
        raise ConvatlasError(f"no child of {name_of(net)} gives maps; name layers that do")
    classes = logits if logits is not None and logits.dim() == 1 and len(logits) > 1 else torch.empty(0)
    return Journey(name_of(net), seen, tuple(stages), _labels(net, len(classes)), _answers(classes))


def stops(net: nn.Module) -> list[str]:
    """The layers that show a network from first to last, all of them with maps, in the order in which they run.

    Of a ConvNet its stages; of any other module its children as a journey takes them.
    Raises ConvatlasError where none gives maps, and where the module does not run on a picture of its own size.
    """
    own = isinstance(net, ConvNet)
    paths = [f"trunk.{stage}" for stage in net.stages] if isinstance(net, ConvNet) else _children(net, opened=True)
    noise = torch.rand(1, *own_size(net), generator=torch.Generator().manual_seed(0))
    with aside(net), torch.no_grad():
        _, found = _followed(net, Shown(net)(noise), paths)
    chosen: list[str] = []
    for path, (given, _) in (found if own else _not_too_many(net, found)).items():
        repeats = not own and chosen and _same(given, found[chosen[-1]][0])
        if given.dim() == 4 and not repeats:
            chosen.append(path)
    if not chosen:
        raise ConvatlasError(f"no child of {name_of(net)} gives maps; name layers that do")
    return [path.removeprefix("trunk.") for path in chosen]


# ---- on the way -------------------------------------------------------------------------------------------


def _children(net: nn.Module, opened: bool) -> list[str]:
    """The paths of a module's children, those of a list or dict of them among them; opened: those of plain sequences
    too."""
    paths = []
    for name, child in net.named_children():
        listed = isinstance(child, nn.ModuleList | nn.ModuleDict)  # which does not run itself
        inner = [f"{name}.{own}" for own, _ in child.named_children()]
        paths += inner if listed else [name, *inner] if opened and type(child) is nn.Sequential else [name]
    return paths


def _not_too_many(net: nn.Module, found: dict[str, tuple[Tensor, int]]) -> dict[str, tuple[Tensor, int]]:
    """Of all children's outputs, where a module's own children give maps enough, only theirs."""
    shallow = {path for path in _children(net, opened=False) if path in found}
    if sum(found[path][0].dim() == 4 for path in shallow) < FEW:
        return found
    return {path: given for path, given in found.items() if path in shallow}


def _followed(net: nn.Module, x: Tensor, paths: Sequence[str]) -> tuple[Any, dict[str, tuple[Tensor, int]]]:
    """What a module gives, and by path, in the order in which they end, its submodules' last output and runs."""
    found: dict[str, tuple[Tensor, int]] = {}

    def keep(path: str) -> Any:
        def hook(module: Any, given: Any, out: Any) -> None:
            if isinstance(out, Tensor):
                runs = found.pop(path, (None, 0))[1]
                found[path] = out.clone(), runs + 1  # what comes next may write over it

        return hook

    handles = [net.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    try:
        return net(x.clone()), found  # it may write over it
    except ConvatlasError:
        raise
    except Exception as error:  # whatever a stranger's forward does
        raise unread(net, x, error) from error
    finally:
        for handle in handles:
            handle.remove()


def _same(values: Tensor, others: Tensor) -> bool:
    return values.numel() == others.numel() and torch.equal(values.flatten(), others.flatten())


def _labels(net: nn.Module, count: int) -> tuple[str, ...]:
    labels = getattr(getattr(net, "weights", None), "labels", None) or ()
    return tuple(label.name for label in labels) if len(labels) == count else tuple(f"class {n}" for n in range(count))


def _answers(logits: Tensor) -> tuple[tuple[int, float], ...]:
    """The likeliest classes; what is a distribution already stays as it is."""
    given = len(logits) and logits.min() >= 0 and abs(float(logits.sum()) - 1) < 1e-3
    best = (logits if given else logits.softmax(0)).sort(descending=True, stable=True)
    return tuple(zip(best.indices[:TOP].tolist(), best.values[:TOP].tolist()))


def _graph(net: nn.Module, x: Tensor) -> Graph | None:
    try:
        channels, height, width = x.shape[1:]
        return graph_of(net, (channels, height, width))
    except ConvatlasError:
        return None


def _sight_of(graph: Graph | None, path: str, given: Tensor) -> Sight | None:
    """Of a submodule's output, where the graph has it."""
    if graph is None:
        return None
    try:
        shapes, place = graph.shapes(), graph.place(path, exact=True)
    except ConvatlasError:
        return None
    return sights(graph, shapes, place) if tuple(shapes[place]) == tuple(given.shape) else None
