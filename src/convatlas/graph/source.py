"""MODEL on the command line and in the library: from what the user names to a graph.

A registered name | timm:NAME | torchvision:NAME | file.py:Class | a run's folder | an exported file | a module | a
graph.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph import atlas
from convatlas.graph.model import Graph
from convatlas.registry import of_record, record_of

if TYPE_CHECKING:
    from torch import nn

InputSize = int | Sequence[int] | None
"""A side in pixels, (H, W) or (C, H, W)."""


def graph_of(model: str | Graph | nn.Module, input_size: InputSize = None, batch: int = 1) -> Graph:
    """The graph of a model.  A registered network's comes from the atlas, without torch; any other is captured.

    Raises UnknownName, CannotTrace, and ConvatlasError for a file or class that is not there.
    """
    if isinstance(model, Graph):
        return model
    if isinstance(model, str):
        if ":" not in model:
            if model.endswith(".py"):
                raise ConvatlasError(f"which class of {model}? write {model}:Class")
            if record_of(model) is None:
                return atlas.load(model)
            module: nn.Module = of_record(model)
        else:
            module = module_of(model, input_size)
    else:
        module = model
    if isinstance(module, type) or not hasattr(module, "named_modules"):
        raise ConvatlasError(f"a model is a name, a torch.nn.Module (made, not its class) or a graph, not {model!r}")

    from convatlas.graph.capture import capture

    name = model if isinstance(model, str) else None
    return capture(module, name=name, input_size=full_size(input_size, own_size(module)), batch=batch)


def full_size(given: InputSize, own: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) from what the user gave, completed by the network's own."""
    if given is None:
        return own
    sizes = [given] if isinstance(given, int) else list(given)
    if not all(isinstance(size, int) for size in sizes):
        raise ConvatlasError(f"an input size is a side, H x W or C x H x W in whole pixels, not {given!r}")
    if not 1 <= len(sizes) <= 3:
        raise ConvatlasError(f"an input size is a side, H x W or C x H x W, not {given!r}")
    channels = sizes[0] if len(sizes) == 3 else own[0]
    height, width = (sizes * 2 if len(sizes) == 1 else sizes)[-2:]
    return channels, height, width


def module_of(spec: str, input_size: InputSize = None) -> nn.Module:
    """timm:NAME, torchvision:NAME or file.py:Class -> the module.  Raises ConvatlasError, UnknownName."""
    where, _, name = spec.rpartition(":")
    if where == "timm":
        return _from_timm(name, input_size)
    if where == "torchvision":
        return _from_torchvision(name)
    return _from_file(Path(where), name)


def _from_timm(name: str, input_size: InputSize) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ConvatlasError("timm: networks need timm: pip install 'convatlas[timm]'") from None
    from convatlas.blocks.init import skip_init

    if not timm.is_model(name):
        raise UnknownName("timm network", name, timm.list_models())
    config = timm.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size and input_size is not None
    options: dict[str, Any] = {"img_size": full_size(input_size, (3, 0, 0))[1:]} if fixed else {}
    with skip_init():
        return timm.create_model(name, **options)


def _from_torchvision(name: str) -> nn.Module:
    import torchvision

    from convatlas.blocks.init import skip_init

    known = torchvision.models.list_models()
    if name not in known:
        raise UnknownName("torchvision network", name, known)
    # Two of its networks warn, and take seconds, unless told not to fill their weights; some would fetch a backbone's.
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if "weights_backbone" in inspect.signature(torchvision.models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None
    with skip_init():
        made: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    try:  # its weights say which pictures they are for
        side = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    except (AttributeError, TypeError, ValueError):
        return made
    made.__dict__["input_size"] = (3, side, side)
    return made


def _from_file(path: Path, name: str) -> nn.Module:
    from torch import nn

    if path.suffix != ".py":
        raise UnknownName("kind of model", str(path), ["timm", "torchvision", "file.py"])
    if not path.is_file():
        raise ConvatlasError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # as `python file.py` would: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConvatlasError(f"{path} does not run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    maker = getattr(module, name, None)
    if maker is None:
        raise UnknownName(f"class of {path.name}", name, [n for n in vars(module) if not n.startswith("_")])
    if isinstance(maker, nn.Module):
        return maker
    try:
        made = maker() if callable(maker) else maker
    except (Exception, SystemExit) as error:
        raise ConvatlasError(f"{path.name}: {name}() fails: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConvatlasError(f"{path.name}: {name} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def own_size(module: nn.Module) -> tuple[int, int, int]:
    """What a module says of its input (timm's and our own do), else 224 pixels and its first layer's channels."""
    own = getattr(module, "input_size", None) or (getattr(module, "pretrained_cfg", None) or {}).get("input_size")
    if isinstance(own, tuple) and len(own) == 3:
        return own
    first: Any = next((m for m in module.modules() if hasattr(m, "kernel_size") and hasattr(m, "in_channels")), None)
    return (first.in_channels if first is not None else 3, 224, 224)
