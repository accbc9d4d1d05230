"""What is measured, as data: networks at random, data kept or replaced, seeds; in the order in which it is run."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

ITERATIONS, K = 1000, 333  # T, and how many eigenvalues a fit of a spectrum has: a third
SAMPLES = 10_000  # of a data set, the first: as many as 1,000 minibatches of 10 take
SEEDS = (0, 1, 2)
NETWORKS = {"lenet": 1, "fcn": 10, "lnn": 10}  # with the batch sizes of the paper
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
        variant: ``"real"``, or what was replaced while all else was kept.
        seed: of weights, minibatches and replacement.
    """

    network: str
    data: str
    variant: str
    seed: int

    @property
    def batch_size(self) -> int:
        """B."""
        return NETWORKS[self.network]

    @property
    def key(self) -> dict[str, Any]:
        """The columns by which its rows are found."""
        return asdict(self)


def measurements() -> Iterator[Measurement]:
    """All of the design; seed by seed, so that a run that is cut short is whole for fewer seeds."""
    for seed in SEEDS:
        for network in NETWORKS:
            for data in DATA:
                for variant in VARIANTS:
                    yield Measurement(network, data, variant, seed)
