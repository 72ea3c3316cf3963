"""The atlas: the captured graph of every registered network, and the index of their totals.

``python -m convatlas.graph.atlas`` (``make atlas``) writes both; reading them needs no torch.
"""

from __future__ import annotations

import io
import json
import math
import sys
import zipfile
from pathlib import Path
from typing import Any

from convatlas import facts
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.graph.ops import macs
from convatlas.registry import unknown

ARCHIVE = "atlas.zip"
INDEX = "index.json"
AUX = "+aux"
"""Suffix of a network's name: the same network with its auxiliary heads running."""


def load(name: str) -> Graph:
    """The graph of a registered network.  Raises UnknownName (did you mean …?)."""
    with (facts.FOLDER / ARCHIVE).open("rb") as file, zipfile.ZipFile(file) as archive:
        try:
            member = archive.read(f"{name}.json")
        except KeyError:
            plain = name.removesuffix(AUX)
            if plain != name and plain in facts.index():
                raise ConvatlasError(f"{plain} has no auxiliary heads") from None
            raise unknown(name, facts.index()) from None
    return Graph.from_json(json.loads(member))


def checksum(name: str) -> int:
    """Of a registered network's graph: another one where the network was changed."""
    with (facts.FOLDER / ARCHIVE).open("rb") as file, zipfile.ZipFile(file) as archive:
        return archive.getinfo(f"{name}.json").CRC


def totals(graph: Graph) -> dict[str, int]:
    """Parameters, and multiply-adds of one picture at the graph's own input size."""
    shapes = graph.shapes()
    counted = (
        macs(node.op, node.attrs, [shapes[i] for i in node.inputs], shape) for node, shape in zip(graph.nodes, shapes)
    )
    every = {**graph.unused, **{path: shape for node in graph.nodes for path, shape in node.params.items()}}
    return {"params": sum(map(math.prod, every.values())), "macs": sum(count or 0 for count in counted)}


def build() -> tuple[bytes, str]:
    """Capture every registered network: the archive's bytes and the index' text, the same for the same code."""
    from convatlas import registry
    from convatlas.graph.capture import capture

    index: dict[str, Any] = {}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in registry.names():
            net = registry.create(name, initialise=False)
            graph = capture(net)
            _put(archive, graph)
            fact = facts.networks().get(name, {})
            index[name] = {
                "title": fact.get("title", name),
                "family": fact.get("family", ""),
                "year": _year(name),
                "module": registry.module_of(name),
                "channels": net.input_size[0],
                "input_size": net.input_size[1],
                "classes": net.classes,
                **totals(graph),
                "weights": [source["id"] for source in facts.weights().get(name, ())],
            }
            if "aux" in registry.options(name):
                graph = capture(registry.create(name, aux=True, initialise=False), name=name + AUX, aux=True)
                _put(archive, graph)
                index[name]["with_aux"] = totals(graph)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in index.items())
    return data.getvalue(), f"{{\n{lines}\n}}\n"


def _year(name: str) -> int | None:
    """Of the network's publication; of a form that no paper published, that of the network it departs from."""
    fact = facts.networks().get(name, {})
    year: int | None = fact.get("year")
    return _year(fact["parent"]) if year is None and "parent" in fact else year


def _put(archive: zipfile.ZipFile, graph: Graph) -> None:
    member = zipfile.ZipInfo(f"{graph.name}.json", date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, json.dumps(graph.to_json(), separators=(",", ":")), compresslevel=9)


def main() -> int:
    """Write the atlas and its index into ``facts/``; with --check only say whether they are up to date."""
    folder = Path(str(facts.FOLDER))
    archive, index = build()
    if "--check" not in sys.argv:
        (folder / ARCHIVE).write_bytes(archive)
        (folder / INDEX).write_text(index, encoding="utf-8")
        print(f"{len(json.loads(index))} networks, {len(archive):,} bytes")
        return 0
    stale = stale_members(archive, index)
    print(f"stale: {', '.join(stale)}; run `make atlas`" if stale else "the atlas is up to date")
    return 1 if stale else 0


def stale_members(archive: bytes, index: str) -> list[str]:
    """What differs between a fresh build and the files: members by content (compressors differ), and the index."""
    folder = Path(str(facts.FOLDER))
    with zipfile.ZipFile(io.BytesIO(archive)) as fresh, zipfile.ZipFile(folder / ARCHIVE) as stored:
        names = set(fresh.namelist()) | set(stored.namelist())
        stale = sorted(
            name for name in names
            if name not in fresh.namelist() or name not in stored.namelist() or fresh.read(name) != stored.read(name)
        )  # fmt: skip
    return stale + ([INDEX] if (folder / INDEX).read_text(encoding="utf-8") != index else [])


if __name__ == "__main__":
    sys.exit(main())
