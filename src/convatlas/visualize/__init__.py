"""What a network has learned: filters, activations, feature visualization, attribution, a page about one unit.

>>> import convatlas
>>> from convatlas.visualize import objectives, visualize
>>> net = convatlas.pretrained("lenet5_modern")
>>> made = visualize(net, objectives.channel("c3", [0, 1]), count=2, steps=16)
>>> made.pictures.shape, made.images[0].size
(torch.Size([2, 1, 32, 32]), (32, 32))

Every function takes any ``torch.nn.Module`` with the path of a layer, and leaves it as it was.
"""

from convatlas.visualize import objectives
from convatlas.visualize.attribution import METHODS, Attribution, attribute, class_of, project
from convatlas.visualize.canvas import colours_of
from convatlas.visualize.finding import Examples, examples
from convatlas.visualize.fullsheet import sheet
from convatlas.visualize.kernels import Filters, filters
from convatlas.visualize.maps import Activations, activations
from convatlas.visualize.objectives import Objective
from convatlas.visualize.optimize import Visualization, visualize
from convatlas.visualize.photograph import Dream, dream, invert
from convatlas.visualize.robust import Robust
from convatlas.visualize.travelling import Journey, journey
from convatlas.visualize.unit_page import write_unit
from convatlas.visualize.units import Unit, unit

__all__ = [
    "METHODS",
    "Activations",
    "Attribution",
    "Dream",
    "Examples",
    "Filters",
    "Journey",
    "Objective",
    "Robust",
    "Unit",
    "Visualization",
    "activations",
    "attribute",
    "class_of",
    "colours_of",
    "dream",
    "examples",
    "filters",
    "invert",
    "journey",
    "objectives",
    "project",
    "sheet",
    "unit",
    "visualize",
    "write_unit",
]
