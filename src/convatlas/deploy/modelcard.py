"""A model card in Markdown: what an exported network is, knows, costs, and was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convatlas import facts
from convatlas.cost import analyze
from convatlas.numbers import short, size

FEW = 20
"""So many classes are named; of more, so many of the first."""


def model_card(record: Mapping[str, Any], file: str, count: int) -> str:
    """The text.  record: what the file carries; count: its bytes."""
    return "\n".join([*_head(record), *_network(record, file, count), *_weights(record), *_use(record, file)]) + "\n"


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
        yield f"{fact['idea']} ({fact['paper']}{', ' + str(fact['year']) if 'year' in fact else ''})"
        yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| network | `{name}`{_options(record)} |"
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


def _options(record: Mapping[str, Any]) -> str:
    return "".join(f", {key} {value}" for key, value in record["options"].items())


def _weights(record: Mapping[str, Any]) -> Iterator[str]:
    published, run = record["weights"], record["run"]
    yield "## Weights"
    yield ""
    if run:
        yield from _run(run)
    elif published:
        yield f"`{published.get('id', '')}` of {published.get('where', '')}, {published.get('data', '')}"
        accuracy = [f"top-{n} {published[key]} %" for n, key in ((1, "top1"), (5, "top5")) if key in published]
        yield f"as published: {', '.join(accuracy)}" if accuracy else ""
    else:
        yield "Random: nobody has trained them."
    for note in record["notes"]:
        yield f"- {note}"
    yield ""
    yield "## Classes"
    yield ""
    names = record["classes"]
    yield ", ".join(names[:FEW]) + (f" … and {len(names) - FEW} more" if len(names) > FEW else "")
    yield ""


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
    resize = (
        f"the shorter side to {prepared['resize']} pixels ({prepared['interpolation']}), " if prepared["resize"] else ""
    )
    yield (f"{resize}the middle {prepared['crop']} x {prepared['crop']}, (value / {prepared['scale']:g} - mean) / std, "
           f"{prepared['order']}, mean {prepared['mean']}, std {prepared['std']}.")  # fmt: skip
    yield ""
    yield "## Use"
    yield ""
    yield "```python"
    yield "import convatlas"
    yield f'net = convatlas.pretrained("{file}")'
    yield f'convatlas.predict("photo.jpg", "{file}")'
    yield "```"
