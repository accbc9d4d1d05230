"""What a row or a series needs measured, whatever the sizes: network, training, minibatches, transforms."""

from dataclasses import dataclass, replace
from typing import Any

from gradlaw.choices import InitialisationName, NormaliseBy
from gradlaw.training import Recipe, default_recipe

CLASSES = {"mnist": 10, "cifar10": 10, "cifar100": 100, "avila": 12}
FIRST_READING: dict[str, Any] = {"padding": 2, "normalisation": "channel", "initialisation": "pytorch"}
_OWN_SIZES = {
    "lenet": {"padding": 2},
    **{name: {"width": 70, "depth": 2} for name in ("fcn", "fcn-relu-bn", "fcn-relu")},
    **{name: {"width": 70, "depth": 4} for name in ("lnn", "lnn-bn", "lnn-relu")},
}
RESNET = "resnet18"
FLOOR = "floor"
TAILS = {"half": 0.5, "tenth": 0.1}
HISTORY, HESSIAN, ANGLES = "history", "hessian", "angles"


@dataclass(frozen=True)
class Training:
    """What differs from the paper's recipe for the data set; see :func:`gradlaw.training.default_recipe`."""

    optimiser: str | None = None
    weight_decay: float | None = None
    learning_rate: float | None = None
    epochs: int | None = None

    def __str__(self) -> str:
        by = f" by {self.optimiser}" if self.optimiser else ""
        settings = {
            "weight decay": self.weight_decay,
            "learning rate": self.learning_rate,
            "epochs": self.epochs,
        }
        differing = " and ".join(f"{name} {value:g}" for name, value in settings.items() if value is not None)
        return f"trained{by}" + (f" with {differing}" if differing else "")


@dataclass(frozen=True)
class NetworkSpec:
    """The parameters theta and the data: a network of the zoo, at random (``training=None``) or trained.

    ``padding`` is that of LeNet on images of 28x28, ``normalisation`` of the images by ``"channel"``, ``"pixel"`` or
    ``"none"``, ``initialisation`` one of the zoo's. ``constant`` is what becomes of pixels that hardly vary, if
    images are normalised by pixel: None divides each by its own deviation, ``FLOOR`` by one grey level at least.
    ``epoch`` is where in its training the network is, in epochs, whole or not; None is the end, and 0 is at random.
    Label noise, as ``parse_label_noise`` reads it, is in the data that it is trained on and in those of the gradients.
    Sizes that are the model's own, and the first reading of what the paper leaves open, become None, and the order of
    steps of hidden layers is dropped where there are none, so that
    two that are equal are one network.
    """

    data: str
    model: str
    width: int | None = None
    depth: int | None = None
    logits: int | None = None
    training: Training | None = None
    label_noise: str | None = None
    padding: int | None = None
    normalisation: NormaliseBy | None = None
    initialisation: InitialisationName | None = None
    epoch: float | None = None
    constant: str | None = None

    def __post_init__(self) -> None:
        if self.constant not in (None, FLOOR) or (self.constant and self.normalisation != "pixel"):
            raise ValueError(f"constant={self.constant!r} of images normalised by {self.normalisation}")
        if self.epoch == 0:
            object.__setattr__(self, "training", None)
        if self.training is None:
            object.__setattr__(self, "epoch", None)
        elif self.epoch is not None:
            object.__setattr__(self, "epoch", float(self.epoch))  # 1 and 1.0 are one key
        for name in ("normalisation", "initialisation"):
            if getattr(self, name) == FIRST_READING[name]:
                object.__setattr__(self, name, None)
        for name, default in _OWN_SIZES.get(self.model, {}).items():
            if getattr(self, name) == default:
                object.__setattr__(self, name, None)
        if self.model == "fcn-relu-bn" and self.depth == 0:
            object.__setattr__(self, "model", "fcn")

    @property
    def sizes(self) -> dict[str, int]:
        """Of the network, as ``build_model`` takes them."""
        return {name: value for name in ("width", "depth", "padding") if (value := getattr(self, name)) is not None}

    @property
    def outputs(self) -> int:
        """Logits of the network."""
        return self.logits or CLASSES[self.data]

    def recipe(self, epochs: int | None = None) -> Recipe | None:
        """The training, of ``epochs`` instead of all; None at random."""
        if self.training is None:
            return None
        own = self.training
        return default_recipe(
            self.data, self.model, own.optimiser, epochs or own.epochs,
            weight_decay=own.weight_decay, learning_rate=own.learning_rate,
        )  # fmt: skip

    def __str__(self) -> str:
        sizes = "".join(f", {name} {value}" for name, value in self.sizes.items())
        sizes += f", {self.logits} logits" if self.logits else ""
        noise = f", labels {self.label_noise}" if self.label_noise else ""
        how = f", normalised by {self.normalisation}" if self.normalisation else ""
        how += ", deviations of at least a grey level" if self.constant else ""
        how += f", initialised by {self.initialisation}" if self.initialisation else ""
        at = "" if self.epoch is None else f" for {self.epoch:g} epochs"
        return f"{self.model}{sizes} on {self.data}{how}{noise}, {self.training or 'random'}{at}"


@dataclass(frozen=True)
class Experiment:
    """One thing to measure of a network.

    Attributes:
        kind: ``"history"``: tests in both directions, spectra, eigengaps, outliers; ``"hessian"``: its largest
            eigenvalues; ``"angles"``: Theorem 1's bound and the measured angles between two halves of a history.
        network: which, and where its parameters are.
        batch_size: B; of a Hessian the minibatches of a loss that couples samples, else None.
        transforms: of the gradients, as ``parse_transform`` reads them.
        tail: of a history, the share of the profile's K that is fitted, one of ``TAILS``; None for all of it.
        augmented: whether every image was flipped and cropped at random, once, before gradients are taken; else None.
    """

    kind: str
    network: NetworkSpec
    batch_size: int | None
    transforms: tuple[str, ...] = ()
    tail: str | None = None
    augmented: bool | None = None

    def __str__(self) -> str:
        batch = f", B = {self.batch_size:,}" if self.batch_size else ""
        how = f", K times {TAILS[self.tail]:g}" if self.tail else ""
        how += ", images flipped and cropped" if self.augmented else ""
        return f"{self.kind} of {self.network}{batch}{''.join(f', {t}' for t in self.transforms)}{how}"


def history(network: NetworkSpec, batch_size: int, *transforms: str) -> Experiment:
    """A gradient history."""
    return Experiment(HISTORY, network, batch_size, transforms)


def at_random(experiment: Experiment) -> Experiment:
    """The same measurement of the same network at random, with clean labels; transforms are kept."""
    return replace(experiment, network=replace(experiment.network, training=None, label_noise=None))


def normalised_recipe(values: dict[str, Any]) -> Recipe:
    """A recipe as JSON holds it."""
    return Recipe(**values | {"milestones": tuple(values["milestones"])})
