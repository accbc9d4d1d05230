"""Fully connected networks (paper appendix A.2), linear ones among them (section 5.4)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

_STEPS = {"bn": nn.BatchNorm1d, "relu": nn.ReLU}


class FCN(nn.Sequential):
    """``depth`` hidden layers of ``width``: each a Linear followed by ``steps``, then a Linear to ``classes``.

    The paper does not state the order of BatchNorm and ReLU, and the order moves its verdicts: the default is
    ("bn", "relu"), ("relu", "bn") is the other. Without steps the network is linear; ("relu",) has no BatchNorm.
    Depth 0 is a single Linear from the inputs to the classes. Initialisation is PyTorch's default.
    """

    def __init__(
        self, inputs: int, classes: int = 10, width: int = 70, depth: int = 2, steps: Sequence[str] = ("bn", "relu")
    ):
        for step in steps:
            if step not in _STEPS:
                raise ValueError(f"the steps of an FCN are {' and '.join(_STEPS)}, got {step!r}")
        layers: list[nn.Module] = [nn.Flatten()]
        sizes = [inputs] + [width] * depth
        for fan_in, fan_out in pairwise(sizes):
            layers.append(nn.Linear(fan_in, fan_out))
            layers += [nn.ReLU() if step == "relu" else _STEPS[step](fan_out) for step in steps]
        super().__init__(*layers, nn.Linear(sizes[-1], classes))
