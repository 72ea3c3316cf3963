"""A network as a file of ONNX, by torch's exporters."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convatlas import carried, facts
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.fold import folded
from convatlas.net import ConvNet

INPUT, OUTPUT = "input", "logits"
EXPORTERS = ("auto", "dynamo", "torchscript")
OPSET = 18
"""Of 2022: old enough for every runtime that is kept up, new enough for every operation of the line."""


def to_onnx(
    net: nn.Module,
    path: Path,
    *,
    input_size: tuple[int, int, int],
    exporter: str = "auto",
    record: Mapping[str, Any] | None = None,
    origins: bool = False,
) -> str:
    """Write a network as ONNX, for any number of pictures of one size, and say which exporter did it.

    Its batch norms are folded into the convolutions before them.  record: what the file is to carry (``carried``).
    origins: each node keeps what the exporter notes of the module that it is of.
    exporter: "dynamo"; "torchscript", the older one; "auto": of networks of the atlas the older one, which takes a
    tenth of the time and writes a graph that is no larger and runs as fast (benchmarks/results/exporters.txt), and
    dynamo for what it cannot write; of any other module dynamo, for the older one follows one picture, and is silent
    about a branch that another picture would take.

    Raises ConvatlasError naming what ONNX cannot express; then nothing is written.
    """
    if exporter not in EXPORTERS:
        raise UnknownName("exporter", exporter, EXPORTERS)
    whole = folded(net, size=input_size).to("cpu", torch.float32)
    said = {}
    plain = isinstance(net, ConvNet) and net.name in facts.index()
    for kind in (("torchscript", "dynamo") if plain else ("dynamo",)) if exporter == "auto" else (exporter,):
        try:
            _exported(whole, path, input_size, kind)
        except OSError:  # a full disk
            raise
        except Exception as error:  # the exporters' errors have no common base but Exception
            said[kind] = _reason(error)
            path.unlink(missing_ok=True)
            continue
        _finish(path, record, origins)
        return kind
    reason = said.get("dynamo") or next(iter(said.values()))
    raise ConvatlasError(f"{getattr(net, 'name', '') or type(net).__name__} cannot be written as ONNX: {reason}")


def _exported(net: nn.Module, path: Path, input_size: tuple[int, int, int], kind: str) -> None:
    picture = torch.zeros(2, *input_size)
    with quiet(), torch.no_grad():
        if kind == "dynamo":
            torch.onnx.export(net, (picture,), str(path), dynamo=True, opset_version=OPSET, input_names=[INPUT],
                              output_names=[OUTPUT], dynamic_shapes=({0: "batch"},), external_data=False,
                              verbose=False)  # fmt: skip
        else:
            torch.onnx.export(net, (picture,), str(path), dynamo=False, opset_version=OPSET,
                              input_names=[INPUT], output_names=[OUTPUT],
                              dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}})  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters print (from C++ too), warn and log; what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            for number in (1, 2):
                os.dup2(nowhere, number)
            yield
    finally:
        for number, place in enumerate(kept, 1):
            os.dup2(place, number)
            os.close(place)
        os.close(nowhere)
        logging.disable(before)


def _reason(error: Exception) -> str:
    """The line of a long message that says something."""
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error))
    if missing := re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", text):
        return f"there is no {missing[1]} in it"
    lines = [line.strip() for line in text.partition("## Exception summary")[2].splitlines() or text.splitlines()]
    said = next((re.sub(r"^<class '[^']+'>: ", "", line) for line in lines if line), type(error).__name__)
    return said[:300]


def _finish(path: Path, record: Mapping[str, Any] | None, origins: bool) -> None:
    """Without what the exporter notes of every node's origin, unless it is wanted, and with what the file is to
    carry."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node if not origins else ():
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        with suppress(AttributeError):
            del value.metadata_props[:]
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "convatlas", ""
    if record is not None:
        model.metadata_props.add(key=carried.KEY, value=json.dumps(record, ensure_ascii=False))
    onnx.save(model, path)
