"""Published weights: found, fetched, verified, converted, loaded; and the preprocessing that travels with them.

>>> from convatlas import weights
>>> [source.id for source in weights.sources("resnet50_v1_5")]
['torchvision', 'torchvision_v2', 'timm']
>>> net = weights.pretrained("efficientnet_lite0")
>>> net.weights.preprocess.crop, net.weights.labels[285].name
(224, 'Egyptian cat')

Importing this, finding and fetching need no torch; reading a checkpoint does.
"""

from convatlas.weights.cache import cache_dir, fetch
from convatlas.weights.checkpoint import read
from convatlas.weights.convert import convert
from convatlas.weights.labels import Label
from convatlas.weights.loading import Weights, load, pretrained
from convatlas.weights.pictures import read_picture
from convatlas.weights.preprocess import Preprocess
from convatlas.weights.source import Source, find, sources

__all__ = [
    "Label",
    "Preprocess",
    "Source",
    "Weights",
    "cache_dir",
    "convert",
    "fetch",
    "find",
    "load",
    "pretrained",
    "read",
    "read_picture",
    "sources",
]
