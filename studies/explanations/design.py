"""What is measured, as data: networks, data kept or replaced, seeds; in the order in which it is run."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

ITERATIONS, K = 1000, 333  # T, and how many eigenvalues a fit of a spectrum has: a third
SAMPLES = 10_000  # of a data set, the first: as many as 1,000 minibatches of 10 take
SEEDS = (0, 1, 2)
NETWORKS = {"lenet": 1, "fcn": 10, "lnn": 10}  # with the batch sizes of the paper
OTHERS = {"gpt": "tinyshakespeare", "resnet18": "cifar10"}  # at random, nothing replaced, B = 1
FEWER = {"resnet18": 500}  # iterations where 1,000 take too long
TRAINED = {"epoch 1": 1, "epoch 3": 3}  # LeNet on MNIST, by the recipe of the paper for all 60,000 images
SEEDS_OF_OTHERS = (0, 1)
DATA = ("mnist", "cifar10")
REAL, COVARIANCE, MARGINALS, WHITE = "real", "same covariance", "same marginals", "white"
LABELS, ORTHOGONAL = "labels permuted", "orthogonal weights"
VARIANTS = (REAL, WHITE, COVARIANCE, MARGINALS, LABELS, ORTHOGONAL)


@dataclass(frozen=True)
class Measurement:
    """One network at random on one data set.

    Attributes:
        network: of the zoo.
        data: set.
        variant: ``"real"``, or what was replaced while all else was kept, or how far the network was trained.
        seed: of weights, minibatches and replacement.
    """

    network: str
    data: str
    variant: str
    seed: int

    @property
    def batch_size(self) -> int:
        """B."""
        return NETWORKS.get(self.network, 1)

    @property
    def iterations(self) -> int:
        """T."""
        return FEWER.get(self.network, ITERATIONS)

    @property
    def population(self) -> bool:
        """Whether the population is looked at: of networks on their own data."""
        return self.variant == REAL or self.variant in TRAINED

    @property
    def key(self) -> dict[str, Any]:
        """The columns by which its rows are found."""
        return asdict(self)


def measurements() -> Iterator[Measurement]:
    """All of the design: seed by seed, so that a run cut short is whole for fewer seeds; then other networks."""
    for seed in SEEDS:
        for network in NETWORKS:
            for data in DATA:
                for variant in VARIANTS:
                    yield Measurement(network, data, variant, seed)
    for seed in SEEDS_OF_OTHERS:
        for variant in TRAINED:
            yield Measurement("lenet", "mnist", variant, seed)
    for network, data in OTHERS.items():
        for seed in SEEDS_OF_OTHERS:
            yield Measurement(network, data, REAL, seed)
