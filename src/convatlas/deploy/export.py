"""export: a network as a file that others can run, compared with the network before it is called done."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convatlas import carried
from convatlas.deploy.agreement import TOLERANCE, Agreement, Answer, agreement, inputs_for
from convatlas.deploy.building import Building
from convatlas.deploy.modelcard import model_card, refuse_other
from convatlas.deploy.sessions import Session, checked_threads, opened
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.files import refuse_unwritable, write_whole
from convatlas.graph.source import InputSize
from convatlas.registry import record_of_run

if TYPE_CHECKING:
    from torch import nn

KINDS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Exported:
    """What was written.

    path: the file, of ``size`` bytes; card: its model card, of safetensors; exporter: of ONNX, the one that wrote it.
     agreement: how its answers compare with the network's own.  names_classes: ``predict`` can read it.
    unread: what is wrong with pictures that could not be read, on which it was not compared.
    """

    path: Path
    to: str
    size: int
    agreement: Agreement
    card: Path | None = None
    exporter: str | None = None
    names_classes: bool = False
    unread: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path), "card": None if self.card is None else str(self.card)}


def export(
    model: str | os.PathLike[str] | nn.Module,
    to: str = "onnx",
    out: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] = "default",
    input_size: InputSize = None,
    pictures: Sequence[Any] = (),
    tolerance: float = TOLERANCE,
    exporter: str = "auto",
) -> Exported:
    """Write a network as ONNX, as a program of torch.export (.pt2), or as safetensors with a model card.

    model, weights: as for ``engine``.
    out: the file; by default NETWORK with the kind's suffix, of a run in its folder.
    pictures: files on which its answers are compared with the network's, beside noise; by default the photographs of
    scikit-learn.  tolerance: the largest error of a logit, in parts of the largest logit of its picture.
    exporter: of ONNX, "dynamo", "torchscript" or "auto" (``to_onnx``).

    The file carries what ``predict`` and ``evaluate`` need: classes, preprocessing, the run that trained it.
    Raises ConvatlasError where an operation cannot be expressed, or the answers differ; then there is no file.
    """
    if to not in KINDS:
        raise UnknownName("kind of export", to, KINDS)
    if not 0 < tolerance < 1:
        raise ConvatlasError(f"a tolerance is a part between 0 and 1, not {tolerance}")
    from convatlas.deploy.eager import Eager
    from convatlas.deploy.told import record_of_net

    path = _place(model, to, out)
    refuse_unwritable(path)
    asked = Building(model, weights, checked_threads(None), input_size, None, cache=False)
    net, size, travelling = asked.net, asked.input_size, asked.travelling
    card = path.with_suffix(".md") if to == "safetensors" else None
    if card is not None:
        refuse_other(card)
    record = record_of_net(net, size, travelling)
    plain = Eager(net, size, "cpu", asked.threads, folded=False)
    unread: list[str] = []
    inputs = inputs_for(size, travelling.preprocess if travelling else None, pictures, unread=unread)
    found: list[Agreement] = []

    def check(answer: Answer) -> None:
        found.append(agreement(plain, answer, inputs, tolerance, plain.exact))
        if not found[-1].holds:
            error = f"an error of {found[-1].error:.1e}, more than {tolerance:.0e}"
            raise ConvatlasError(f"{asked.name} answers otherwise as {to}: {error}; nothing was written")

    used: list[str] = []

    def write(beside: Path) -> None:
        if to == "onnx":
            used.append(_write_onnx(net, beside, size, exporter, record, check))
        elif to == "torch":
            _write_program(net, beside, size, record, check)
        else:
            _write_safetensors(net, beside, size, record, check)

    write_whole(path, write)
    if card is not None:
        text = model_card(record, path.name, path.stat().st_size)
        write_whole(card, lambda beside: beside.write_text(text, encoding="utf-8"))
    named = travelling is not None and to != "torch" and size[1] == size[2]
    return Exported(path, to, path.stat().st_size, found[-1], card, used[0] if used else None, named,
                    tuple(unread))  # fmt: skip


def _place(model: Any, to: str, out: str | os.PathLike[str] | None) -> Path:
    """Raises ConvatlasError for a file whose name says that it is of another kind."""
    if out is None:
        name = os.fspath(model) if isinstance(model, str | os.PathLike) else getattr(model, "name", "") or "network"
        run = record_of_run(name)
        if run is not None:
            return Path(name) / f"model{KINDS[to]}"
        return Path(f"{Path(name.replace(':', '_')).stem}{KINDS[to]}")
    path = Path(out)
    if path.is_dir():
        raise ConvatlasError(f"{path} is a folder; name a file in it")
    if path.suffix != KINDS[to]:
        raise ConvatlasError(f"a file of {to} ends in {KINDS[to]}, not {path.name!r}")
    return path


def _write_onnx(
    net: nn.Module, beside: Path, size: tuple[int, int, int], exporter: str, record: Any, check: Any
) -> str:
    from convatlas.deploy.onnxing import to_onnx

    used = to_onnx(net, beside, input_size=size, exporter=exporter, record=record)
    check(Session(opened(beside)))
    return used


def _write_program(net: nn.Module, beside: Path, size: tuple[int, int, int], record: Any, check: Any) -> None:
    """A program of torch.export, for any number of pictures: torch.export.load(file).module()(pictures)."""
    import torch

    from convatlas.graph.fold import folded

    whole = folded(net, size=size).to("cpu", torch.float32)
    batch = torch.export.Dim("batch", min=1)
    extra = {carried.KEY: json.dumps(record, ensure_ascii=False)}
    try:
        program = torch.export.export(whole, (torch.zeros(2, *size),), dynamic_shapes=({0: batch},))
    except Exception as error:  # its errors have no common base but Exception
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConvatlasError(f"{record['network']} cannot be exported by torch.export: {reason[:300]}") from error
    with beside.open("wb") as file:
        torch.export.save(program, file, extra_files=extra)
    with beside.open("rb") as file, torch.inference_mode():
        read = torch.export.load(file).module()
        check(lambda pictures: np.asarray(read(torch.from_numpy(np.ascontiguousarray(pictures)))))


def _write_safetensors(net: nn.Module, beside: Path, size: tuple[int, int, int], record: Any, check: Any) -> None:
    """Every tensor by its own name; batch norms stay, so that the network can be trained further."""
    from copy import deepcopy

    from safetensors.torch import load_file, save_file

    from convatlas.deploy.eager import Eager

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    save_file(_unshared(state), beside, metadata={carried.KEY: json.dumps(record, ensure_ascii=False)})
    read = deepcopy(net).cpu()
    read.load_state_dict(load_file(beside))
    check(Eager(read, size, "cpu", checked_threads(None), folded=False))


def _unshared(state: dict[str, Any]) -> dict[str, Any]:
    """safetensors refuses two names of one memory."""
    seen: set[int] = set()
    made = {}
    for name, tensor in state.items():
        pointer = tensor.untyped_storage().data_ptr()
        made[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return made
