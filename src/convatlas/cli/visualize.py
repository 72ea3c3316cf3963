"""convatlas visualize: what a network has learned"""

from __future__ import annotations

from cyclopts import App

from convatlas.cli import drawing, looking

app = App(
    name="visualize",
    help="Show what a network has learned, and why it answers as it does.",
    result_action="return_value",
)
for verb in (
    looking.filters, looking.activations, looking.journey, looking.attribute, looking.unit,
    drawing.channel, drawing.neuron, drawing.layer, drawing.logit, drawing.probability, drawing.sheet,
    drawing.dream, drawing.invert,
):  # fmt: skip
    app.command(verb)
