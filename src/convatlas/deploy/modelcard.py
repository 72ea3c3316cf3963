"""A model card in Markdown: what an exported network is, knows, costs, and was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convatlas import facts
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError
from convatlas.numbers import short, size
from convatlas.weights.labels import named

FEW = 20
"""So many classes are named; of more, so many of the first."""


def model_card(record: Mapping[str, Any], file: str, count: int) -> str:
    """The text.  record: what the file carries; count: its bytes."""
    return "\n".join([*_head(record), *_network(record, file, count), *_weights(record), *_use(record, file)]) + "\n"


def refuse_other(path: Path) -> None:
    """Raises ConvatlasError where a text is in a card's place that is no card of ours."""
    if path.is_file() and "library_name: convatlas" not in path.read_text(encoding="utf-8", errors="replace"):
        raise ConvatlasError(f"{path}, where the model card would be, is another text; name another file with --out")


def _head(record: Mapping[str, Any]) -> Iterator[str]:
    """What Hugging Face's hub reads of a card."""
    yield "---"
    yield "library_name: convatlas"
    yield "pipeline_tag: image-classification"
    licence = record["weights"].get("licence")
    if licence:
        yield f"license: {licence.lower()}"
    yield "tags: [image-classification, convolutional-network]"
    yield "---"
    yield ""


def _network(record: Mapping[str, Any], file: str, count: int) -> Iterator[str]:
    name = record["network"]
    fact = facts.networks().get(name, {})
    yield f"# {fact.get('title', name.removeprefix('module:'))}"
    yield ""
    if "idea" in fact:
        yield fact["idea"]
        yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| network | `{name}`{_options(record)} |"
    if "paper" in fact:
        yield f"| paper | {_paper(fact)} |"
    yield f"| file | `{file}`, {size(count)} |"
    yield f"| input | {' x '.join(map(str, record['input_size']))} |"
    if name in facts.index():
        from convatlas import registry
        from convatlas.graph.capture import capture

        graph = capture(registry.create(name, **record["options"], initialise=False))
        found = analyze(graph, input_size=tuple(record["input_size"]))
        yield f"| parameters | {found.totals['params']:,} |"
        yield f"| multiply-adds of a picture | {short(found.totals['macs'])} (convolutions and linear layers) |"
        yield f"| maps of a forward pass | {size(found.totals['activation_bytes'])} |"
    yield ""


def _paper(fact: Mapping[str, Any]) -> str:
    year = str(fact.get("year", ""))
    return fact["paper"] if year in fact["paper"] else f"{fact['paper']}, {year}"


def _options(record: Mapping[str, Any]) -> str:
    return "".join(f", {key} {value}" for key, value in record["options"].items())


def _weights(record: Mapping[str, Any]) -> Iterator[str]:
    published, run = record["weights"], record["run"]
    yield "## Weights"
    yield ""
    if run:
        yield from _run(run)
    elif published:
        yield from _published(published)
    else:
        yield "No source is known: the weights are random, unless who exported them had trained them."
    yield ""
    for note in record["notes"]:
        yield f"- {note}"
    if record["notes"]:
        yield ""
    yield "## Classes"
    yield ""
    yield _classes(record["classes"])
    yield ""


def _published(source: Mapping[str, Any]) -> Iterator[str]:
    trained = f", trained on {source['data']}" if "data" in source else ""
    name, where = source.get("id", ""), str(source.get("where", ""))
    if Path(where).name == name:  # a file of the user's; its folder is nobody's business
        yield f"From the file {name}{trained}."
    else:
        shipped = " of convatlas itself" if where.startswith("trained/") else ""
        yield f"Published weights{trained}: {where}{shipped} (`--weights {name}`)."
    accuracy = [f"top-{n} {source[key]} %" for n, key in ((1, "top1"), (5, "top5")) if key in source]
    if accuracy:
        yield f"Accuracy as published: {', '.join(accuracy)}."


def _classes(names: Sequence[str]) -> str:
    if not names:
        return "Not known."
    if list(names) == [label.name for label in named(None, len(names))]:
        return f"{len(names):,}, without names."
    return ", ".join(names[:FEW]) + (f" … and {len(names) - FEW:,} more" if len(names) > FEW else "")


def _run(run: Mapping[str, Any]) -> Iterator[str]:
    data = run.get("data", {})
    counts = ", ".join(f"{count:,} {split}" for split, count in data.get("counts", {}).items())
    how = f"recipe {run.get('recipe_kind', '?')}, seed {run.get('seed')}"
    yield f"Trained on {data.get('name', '?')} ({counts}), {how}."
    if run.get("test"):
        yield f"Accuracy on its test pictures: {100 * run['test']['accuracy']:.2f} %."


def _use(record: Mapping[str, Any], file: str) -> Iterator[str]:
    prepared = record["preprocess"]
    yield "## Preprocessing"
    yield ""
    yield from (f"- {step}" for step in _steps(prepared))
    yield ""
    yield "## Use"
    yield ""
    yield "```python"
    yield "import convatlas"
    yield f'net = convatlas.pretrained("{file}")'
    yield f'convatlas.predict("photo.jpg", "{file}")'
    yield "```"


def _steps(prepared: Mapping[str, Any]) -> Iterator[str]:
    """What is done to a picture, in its order."""
    resize, crop, scale = prepared["resize"], prepared["crop"], prepared["scale"]
    if resize:
        side = "both sides" if prepared["mode"] == "squash" else "the shorter side"
        yield f"resize {side} to {resize} pixels ({prepared['interpolation']})"
    yield f"pad with black to {crop} x {crop}" if resize and resize < crop else f"crop the middle {crop} x {crop}"
    yield "one channel of grey" if prepared["order"] == "L" else f"channels in the order {prepared['order']}"
    value = "value" if scale == 1 else f"value / {scale:g}"
    mean, std = (", ".join(f"{part:g}" for part in prepared[key]) for key in ("mean", "std"))
    yield f"({value} - mean) / std, of values from 0 to 255, with mean {mean} and std {std}"
