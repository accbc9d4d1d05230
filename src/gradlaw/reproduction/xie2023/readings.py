"""What the paper leaves open, and by which rows each reading is chosen; written before the readings were measured."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gradlaw.reproduction.experiment import FLOOR, HISTORY, Experiment
from gradlaw.reproduction.reading import Axis, Family, Reading
from gradlaw.reproduction.xie2023.networks import BN_RELU, RELU_BN
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT


def _to(**changes: Any) -> Callable[[Experiment, str], Experiment]:
    """The network with some fields changed, each to what a function makes of the option."""

    def apply(experiment: Experiment, option: str) -> Experiment:
        made = {name: change(option) for name, change in changes.items()}
        return replace(experiment, network=replace(experiment.network, **dict[str, Any](made)))

    return apply


def _images(experiment: Experiment) -> bool:
    return experiment.network.data != "avila"


def _with_momentum(experiment: Experiment, option: str) -> Experiment:
    network = experiment.network
    assert network.training is not None
    if option == "plain":
        return experiment
    return replace(experiment, network=replace(network, training=replace(network.training, optimiser="momentum")))


def _by_sgd(experiment: Experiment) -> bool:
    training = experiment.network.training
    return training is not None and training.optimiser in (None, "sgd")


def _history(experiment: Experiment) -> bool:
    return experiment.kind == HISTORY


def _centred(declared: str, option: str) -> str:
    if declared not in (COVARIANCE, SECOND_MOMENT):
        return declared  # tests of single series, and eigengaps, which are of the covariance
    return {"declared": declared, "yes": COVARIANCE, "no": SECOND_MOMENT}[option]


PADDING = Axis(
    "padding",
    "whether LeNet pads images of 28x28 (appendix A.2 names LeNet-5 and no sizes)",
    {"2": "padded to 32x32, 61,706 parameters", "0": "not padded, 44,426 parameters"},
    lambda experiment: experiment.network.model == "lenet" and experiment.network.data == "mnist",
    _to(padding=int),
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
    _to(normalisation=str),
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
    lambda experiment: True,
    _to(initialisation=str),
)
ORDER = Axis(
    "order",
    "which comes first in a hidden layer of the FCN",
    {"bn-relu": "BatchNorm, then ReLU", "relu-bn": "ReLU, then BatchNorm"},
    lambda experiment: experiment.network.model in (BN_RELU, RELU_BN),
    _to(model={"bn-relu": BN_RELU, "relu-bn": RELU_BN}.__getitem__),
)
SGD = Axis(
    "sgd",
    "whether SGD has momentum (a later paper of the same authors uses 0.9 under that name); Table 10 is measured with "
    "both",
    {"plain": "no momentum", "momentum": "momentum 0.9"},
    _by_sgd,
    _with_momentum,
)
PRETRAINED = Axis(
    "pretrained",
    "at which parameters the rows called pretrained were measured; [forensics.md](forensics.md) compares both for "
    "every such row",
    {"trained": "trained by the recipe of appendix A", "random": "at initialisation"},
    lambda experiment: experiment.network.training is not None,
    lambda experiment, option: experiment if option == "trained" else _to(training=lambda _: None)(experiment, option),
)
CONSTANT = Axis(
    "constant",
    "what becomes of pixels that hardly vary, if images are normalised by pixel; one that is constant in the training "
    "set is zero whatever it is divided by",
    {
        "zero": "each is divided by its own deviation",
        FLOOR: "by one grey level of 255 at least, so that pixels which are set in a few images only stay small",
    },
    lambda experiment: experiment.network.normalisation == "pixel",
    _to(constant=lambda option: None if option == "zero" else option),
)
K = Axis(
    "k",
    "how many of the largest values a fit takes (appendix B.1: 1,000 unless specified otherwise; the printed critical "
    "distance of 0.0430 is that of 1,000)",
    {"all": "K of the profile", "half": "half of it", "tenth": "a tenth of it"},
    _history,
    lambda experiment, option: replace(experiment, tail=None if option == "all" else option),
)
CENTRED = Axis(
    "centred",
    "whether the mean gradient is taken off before a spectrum (tables are called those of the covariance or of the "
    "second moment, and Table 2 repeats rows of Table 6)",
    {"declared": "as the table is called", "yes": "covariance", "no": "second moment"},
    _history,
    lambda experiment, option: experiment,
    _centred,
)
AUGMENTATION = Axis(
    "augmentation",
    "whether images are flipped and cropped while gradients are taken (appendix A.4 lists it as preprocessing of "
    "CIFAR; of MNIST it does not)",
    {
        "no": "images as they are",
        "yes": "each flipped with probability 1/2 and cropped by up to 4 pixels, once: at B = 1 none is drawn twice",
    },
    lambda experiment: _images(experiment) and _history(experiment),
    lambda experiment, option: replace(experiment, augmented=True if option == "yes" else None),
)
AXES = (PADDING, NORMALISATION, CONSTANT, INITIALISATION, ORDER, SGD, PRETRAINED, K, CENTRED, AUGMENTATION)


def _alone(*texts: str) -> tuple[Reading, ...]:
    return tuple(Reading.parse(text, AXES) for text in texts)


AT_RANDOM = Reading(((PRETRAINED, "random"),))

# Random rows choose, other tables check. The linear networks are published as pretrained only; they are compared at
# random, where the published numbers lie, and the forensic page says why.
FAMILIES = (
    Family("lenet-mnist", (PADDING, NORMALISATION, INITIALISATION), ("table6 row 7",),
           ("table3 row 2", "table4 row 1", "table4 row 8"),
           alone=_alone("k=half", "k=tenth", "centred=yes", "normalisation=pixel,constant=floor", "augmentation=yes")),
    Family("lenet-cifar10", (NORMALISATION, INITIALISATION), ("table2 row 4",), ("table1 row 5", "table1 row 6"),
           alone=_alone("k=half", "k=tenth", "centred=no", "normalisation=pixel,constant=floor", "augmentation=yes")),
    Family("fcn", (ORDER, NORMALISATION, INITIALISATION), ("table8 row 2",), ("table3 row 4",),
           alone=_alone("k=half", "k=tenth", "centred=yes", "normalisation=pixel,constant=floor")),
    Family("lnn", (NORMALISATION, INITIALISATION), ("table9 row 1",), ("table9 row 2", "table9 row 3"), AT_RANDOM),
)  # fmt: skip
