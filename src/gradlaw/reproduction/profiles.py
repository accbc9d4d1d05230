"""A profile: how large everything is measured."""

from dataclasses import dataclass, replace

from gradlaw.reproduction.experiment import RESNET, Experiment

_LARGE_BATCH = 1000


@dataclass(frozen=True)
class Profile:
    """The sizes of all measurements.

    Attributes:
        name: as the command line knows it; every output is labelled with it.
        meaning: in words, for those labels.
        iterations: T of LeNet and the fully connected networks.
        k: K of their power-law tests.
        large_batches: T and K where B is above 1000; None for the same.
        gaussian_k: values that a Gaussian test draws.
        resnet_iterations: T = K of ResNet18.
        epochs: of a training that has to be done; None for all of the recipe.
        hessian_k: how many eigenvalues of a Hessian.
        hessian_samples: over how many samples its loss is a mean; None for all.
        angles: how many eigenvectors Theorem 1 is checked for.
        samples: how many training samples to use, from the start; None for all.
        resnet_width: of ResNet18's first stage; None for its own, 64.
    """

    name: str
    meaning: str
    iterations: int
    k: int
    large_batches: tuple[int, int] | None
    gaussian_k: int
    resnet_iterations: int
    epochs: int | None
    hessian_k: int
    hessian_samples: int | None
    angles: int
    samples: int | None = None
    resnet_width: int | None = None

    def sizes_of(self, experiment: Experiment) -> tuple[int, int]:
        """T and K of a gradient history."""
        if experiment.network.model == RESNET:
            return self.resnet_iterations, self.resnet_iterations
        if self.large_batches and (experiment.batch_size or 0) > _LARGE_BATCH:
            return self.large_batches
        return self.iterations, self.k

    def with_hessian_samples(self, samples: int | None) -> "Profile":
        """Another number of samples in the mean loss of a Hessian; None keeps the profile's."""
        if samples is None:
            return self
        return replace(self, hessian_samples=samples, meaning=f"{self.meaning}; Hessians over {samples:,} samples")
