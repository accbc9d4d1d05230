"""What is measured along training: networks, optimisers, epochs, seeds and sizes; written before it was measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gradlaw.reproduction.experiment import HESSIAN, Experiment, NetworkSpec, Training, history
from gradlaw.reproduction.profiles import Profile


@dataclass(frozen=True)
class Subject:
    """One network with one optimiser at one epoch."""

    name: str
    network: NetworkSpec
    optimiser: str
    epoch: float
    batch_size: int
    hessian_batch: int | None

    @property
    def at(self) -> NetworkSpec:
        """The network there; at epoch 0 one for all optimisers."""
        return replace(self.network, training=Training(self.optimiser), epoch=self.epoch)

    @property
    def history(self) -> Experiment:
        """Tests, spectra and noise of a gradient history."""
        return history(self.at, self.batch_size)

    @property
    def hessian(self) -> Experiment:
        """The largest eigenvalues of the Hessian, for a network with BatchNorm as a mean over minibatches."""
        return Experiment(HESSIAN, self.at, self.hessian_batch)


@dataclass(frozen=True)
class Study:
    """The whole design.

    Attributes:
        networks: at random, by the name they are shown under.
        normalised: the names of those with BatchNorm, whose loss couples the samples of a minibatch.
        optimisers: as recipes know them; the learning rates are those of :func:`gradlaw.training.default_recipe`.
        epochs: at which everything is measured, in the order in which they are.
        batch_size: B of the gradient histories.
        seeds: of initialisation, training, minibatches and draws.
        profile: the sizes.
    """

    networks: Mapping[str, NetworkSpec]
    normalised: frozenset[str]
    optimisers: tuple[str, ...]
    epochs: tuple[float, ...]
    batch_size: int
    seeds: tuple[int, ...]
    profile: Profile

    def subjects(
        self, networks: Sequence[str] | None = None, epochs: Sequence[float] | None = None
    ) -> Iterator[Subject]:
        """All of them, or those of some networks and epochs."""
        for name in networks or self.networks:
            for optimiser in self.optimisers:
                for epoch in epochs or self.epochs:
                    hessian_batch = self.batch_size if name in self.normalised else None
                    yield Subject(name, self.networks[name], optimiser, epoch, self.batch_size, hessian_batch)


ALONG = Study(
    {
        "FCN, MNIST": NetworkSpec("mnist", "fcn"),
        "LNN, MNIST": NetworkSpec("mnist", "lnn"),
        "LeNet, MNIST": NetworkSpec("mnist", "lenet"),
        "LeNet, CIFAR-10": NetworkSpec("cifar10", "lenet"),
    },
    frozenset({"FCN, MNIST"}),
    ("sgd", "momentum", "adam"),
    (0, 0.1, 0.5, 1, 2, 5, 10, 20, 50),
    10,
    (0, 1),
    Profile("along", "T = 600, K = 120, B = 10; the 5 largest eigenvalues of the Hessian over 500 samples",
            600, 120, None, 100, 200, None, 5, 500, 100),
)  # fmt: skip
