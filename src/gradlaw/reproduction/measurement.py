"""Measurement: an experiment with all sizes and seeds filled in, and the key that names its result."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gradlaw.reproduction.experiment import ANGLES, FIRST_READING, HESSIAN, HISTORY, RESNET, TAILS, Experiment
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.training import Recipe

FORMAT = 1  # of results; another one is another key
_KEY_LENGTH = 16
# What first results did not have: not in keys where it is None.
_OMITTED = {*FIRST_READING, "epoch", "until", "constant", "tail", "augmented", "learning_rate", "epochs"}
_NAMES_IN_KEYS = {"experiment": "study", "network": "point"}  # those of the first results, which keep their keys


@dataclass(frozen=True)
class Measurement:
    """Everything that the numbers of one stored result depend on.

    Attributes:
        experiment: what is measured.
        seed: of initialisation, training, label noise, minibatches and draws.
        recipe: of the training; None at random.
        samples: training samples used, from the start; None for all.
        iterations: T; None for a Hessian.
        k: values in a power-law test; eigenvalues of a Hessian; eigenvectors of ``"angles"``.
        gaussian_k: values that a Gaussian test draws.
        loss_samples: samples of a Hessian's loss; None for all.
    """

    experiment: Experiment
    seed: int
    recipe: Recipe | None
    samples: int | None
    iterations: int | None = None
    k: int = 1000
    gaussian_k: int | None = None
    loss_samples: int | None = None

    def settings(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"format": FORMAT, **plain(self)}

    @cached_property
    def key(self) -> str:
        """A digest of the settings, which is where the result is kept."""
        return content_key(self.settings())


def plain(record: Any) -> dict[str, Any]:
    """A dataclass and those inside it as plain data, under the names that keys of results are made of."""
    return asdict(record, dict_factory=_named)


def _named(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The first reading is not named: results that were measured before there were others keep their keys."""
    return {_NAMES_IN_KEYS.get(name, name): value for name, value in items if name not in _OMITTED or value is not None}


def content_key(settings: dict[str, Any]) -> str:
    """The first digits of the SHA-256 of settings as canonical JSON."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


class Resolver:
    """From experiments to measurements: the sizes of a profile, and the recipes of checkpoints that are at hand."""

    def __init__(self, profile: Profile, trained_models: TrainedModels):
        self.profile, self.trained_models = profile, trained_models

    def resolve(self, experiment: Experiment, seed: int) -> Measurement:
        """The measurement of an experiment under this profile.

        A network trained by the whole recipe is taken wherever one is packaged, else the profile decides the epochs.
        """
        p = self.profile
        if experiment.network.model == RESNET:
            experiment = replace(experiment, network=replace(experiment.network, width=p.resnet_width))
        whole = experiment.network.recipe()
        at_end = experiment.network.epoch is None and p.samples is None
        packaged = whole and at_end and self.trained_models.packaged(experiment.network, whole, seed)
        recipe = whole if packaged else experiment.network.recipe(p.epochs)
        if experiment.kind == HESSIAN:
            return Measurement(experiment, seed, recipe, p.samples, k=p.hessian_k, loss_samples=p.hessian_samples)
        iterations, k = p.sizes_of(experiment)
        if experiment.kind == ANGLES:
            return Measurement(experiment, seed, recipe, p.samples, iterations, p.angles)
        assert experiment.kind == HISTORY
        if experiment.tail is not None:
            k = round(TAILS[experiment.tail] * k)
        return Measurement(experiment, seed, recipe, p.samples, iterations, k, p.gaussian_k)
