"""What the paper leaves open, and by which rows each reading is chosen; written before the readings were measured."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gradlaw.reproduction.experiment import NetworkSpec, Training
from gradlaw.reproduction.reading import Axis, Family, Reading
from gradlaw.reproduction.xie2023.networks import BN_RELU, RELU_BN


def _set(name: str) -> Callable[[NetworkSpec, str], NetworkSpec]:
    return lambda network, option: replace(network, **dict[str, Any]({name: option}))


def _images(network: NetworkSpec) -> bool:
    return network.data != "avila"


def _with_momentum(network: NetworkSpec, option: str) -> NetworkSpec:
    training = network.training
    assert training is not None
    return network if option == "plain" else replace(network, training=Training("momentum", training.weight_decay))


def _by_sgd(network: NetworkSpec) -> bool:
    return network.training is not None and network.training.optimiser in (None, "sgd")


PADDING = Axis(
    "padding",
    "whether LeNet pads images of 28x28 (appendix A.2 names LeNet-5 and no sizes)",
    {"2": "padded to 32x32, 61,706 parameters", "0": "not padded, 44,426 parameters"},
    lambda network: network.model == "lenet" and network.data == "mnist",
    lambda network, option: replace(network, padding=int(option)),
)
NORMALISATION = Axis(
    "normalisation",
    'what "per-pixel zero-mean unit-variance normalization" means (appendix A.3)',
    {
        "channel": "one mean and deviation for each channel",
        "pixel": "those of each pixel; a pixel that is constant in the training set stays at zero",
        "none": "images as they are stored, 0 to 255",
    },
    _images,
    _set("normalisation"),
)
INITIALISATION = Axis(
    "initialisation",
    "how parameters are drawn (the paper names PyTorch and PaddlePaddle, and no initialisation)",
    {
        "pytorch": "PyTorch's defaults",
        "paddle": "PaddlePaddle's documented defaults: Xavier for linear layers, He for convolutions, zero biases",
        "kaiming": "normal with variance 2 / fan_in, zero biases",
        "xavier": "uniform with variance 2 / (fan_in + fan_out), zero biases",
    },
    lambda network: True,
    _set("initialisation"),
)
ORDER = Axis(
    "order",
    "which comes first in a hidden layer of the FCN",
    {"bn-relu": "BatchNorm, then ReLU", "relu-bn": "ReLU, then BatchNorm"},
    lambda network: network.model in (BN_RELU, RELU_BN),
    lambda network, option: replace(network, model={"bn-relu": BN_RELU, "relu-bn": RELU_BN}[option]),
)
SGD = Axis(
    "sgd",
    "whether SGD has momentum (a later paper of the same authors uses 0.9 under that name)",
    {"plain": "no momentum", "momentum": "momentum 0.9"},
    _by_sgd,
    _with_momentum,
)
PRETRAINED = Axis(
    "pretrained",
    "at which parameters the rows called pretrained were measured",
    {"trained": "trained by the recipe of appendix A", "random": "at initialisation"},
    lambda network: network.training is not None,
    lambda network, option: network if option == "trained" else replace(network, training=None),
)
AXES = (PADDING, NORMALISATION, INITIALISATION, ORDER, SGD, PRETRAINED)

AT_RANDOM = Reading(((PRETRAINED, "random"),))

# Random rows choose, other tables check. The linear networks are published as pretrained only; they are compared at
# random, where the published numbers lie, and the forensic page says why.
FAMILIES = (
    Family("lenet-mnist", (PADDING, NORMALISATION, INITIALISATION), ("table6 row 7",),
           ("table3 row 2", "table4 row 1", "table4 row 8")),
    Family("lenet-cifar10", (NORMALISATION, INITIALISATION), ("table2 row 4",), ("table1 row 5", "table1 row 6")),
    Family("fcn", (ORDER, NORMALISATION, INITIALISATION), ("table8 row 2",), ("table3 row 4",)),
    Family("lnn", (NORMALISATION, INITIALISATION), ("table9 row 1",), ("table9 row 2", "table9 row 3"), AT_RANDOM),
)  # fmt: skip
