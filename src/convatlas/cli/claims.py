"""convatlas claims"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError, UnknownName


def claims(
    id: str | None = None,
    /,
    *,
    topic: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Recompute what the lecture and the papers say in figures.

    Examples:

    `convatlas claims`

    `convatlas claims --topic vgg`

    `convatlas claims vgg16-memory`

    `convatlas claims --json`

    Parameters
    ----------
    id
        One claim, with all its figures; by default a table of them all.
    topic
        Only this topic: kernels, mnist, imagenet, lenet, alexnet, zfnet, vgg, googlenet, resnet, senet, densenet,
        mobilenet, efficientnet, efficiency.
    json
        Print an array with one object a claim.
    """
    from convatlas.claims import check
    from convatlas.claims import claims as stored
    from convatlas.claims.checking import recomputed
    from convatlas.cli.verdicts import print_claim, print_claims

    if id is not None and topic is not None:
        raise ConvatlasError("give a claim or --topic, not both")
    topics = dict.fromkeys(claim.topic for claim in stored())
    if topic is not None and topic not in topics:
        raise UnknownName("topic", topic, topics)
    chosen = [check(id)] if id else [recomputed(c) for c in stored() if topic is None or c.topic == topic]
    if json:
        output.print_json([checked.to_json() for checked in chosen])
    elif id:
        print_claim(chosen[0])
    else:
        print_claims(chosen)
