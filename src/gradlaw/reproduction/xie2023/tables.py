"""Tables 1 to 11 as data: which measurement belongs beside which published row."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.experiment import Experiment, NetworkSpec, history
from gradlaw.reproduction.paper import SPECTRUM, TESTS, Row, Table
from gradlaw.reproduction.xie2023.networks import (
    BN_RELU,
    FCN,
    FCN_BATCH,
    FCN_TRAINED,
    LENET,
    LENET_CIFAR,
    LENET_CIFAR100,
    LENET_CIFAR_TRAINED,
    LENET_TRAINED,
    LNN,
    LNN_BN,
    LNN_RELU,
    ORDERS,
    RESNET_CIFAR,
    RESNET_CIFAR100,
    noisy,
    trained,
)
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT


@dataclass(frozen=True)
class Reading:
    """One reading of a published row: an experiment, what it is called, and why."""

    experiment: Experiment
    name: str = ""
    note: str = ""


def _spectra(number: int, title: str, matrix: str, published: Iterable[Experiment | Iterable[Reading]]) -> Table:
    """A table of spectra; each entry is a published row, by its one experiment or all of its readings."""
    readings = ([Reading(entry)] if isinstance(entry, Experiment) else entry for entry in published)
    rows = (Row(number, i, r.experiment, matrix, r.name, r.note) for i, some in enumerate(readings, 1) for r in some)
    return Table(number, title, SPECTRUM, tuple(rows))


def _tests(number: int, title: str, published: Iterable[tuple[Experiment, str]]) -> Table:
    rows = (Row(number, i, experiment, axis) for i, (experiment, axis) in enumerate(published, 1))
    return Table(number, title, TESTS, tuple(rows))


def both_orders(network: NetworkSpec) -> tuple[Reading, ...]:
    """A network in both orders of BatchNorm and ReLU."""
    return tuple(Reading(history(replace(network, model=model), FCN_BATCH), order) for order, model in ORDERS.items())


def _both_directions(networks: Iterable[NetworkSpec]) -> list[tuple[Experiment, str]]:
    return [(history(network, 100), axis) for network in networks for axis in ("dimension", "iteration")]


def _one_layer(network: NetworkSpec) -> tuple[Reading, ...]:
    single = Reading(history(replace(network, model=BN_RELU, depth=0), FCN_BATCH), "784-10")
    hidden = both_orders(replace(network, depth=1))
    return single, *(replace(r, name=f"784-70-10, {r.name}") for r in hidden)


def _optimiser(transforms: tuple[str, ...], optimiser: str, weight_decay: float | None) -> tuple[Reading, ...]:
    """Update vectors at fixed parameters, and gradients at parameters that were trained so."""
    return (
        Reading(history(LENET_CIFAR, 100, *transforms), "updates at fixed parameters",
                "what the optimiser would make of the gradients"),
        Reading(history(trained(LENET_CIFAR, optimiser, weight_decay), 100), "gradients after training so",
                "plain gradients at parameters that this optimiser trained"),
        Reading(history(trained(LENET, optimiser, weight_decay), 100), "gradients after training so, MNIST",
                "the same on the other data set"),
    )  # fmt: skip


BATCH_SIZES = (1, 3, 10, 30, 100, 300, 1000)
SPECTRUM_BATCH_SIZES = (1, 10, 100, 1000, 10000, 60000)
DECAY = 5e-4
ALL_NOISE = ("symmetric=0.4", "symmetric=0.8", "random")
OPTIMISERS: dict[str, tuple[tuple[str, ...], str, float | None]] = {
    "SGD": ((), "sgd", 0.0),
    "Weight Decay": ((f"weight-decay={DECAY}",), "sgd", None),
    "Momentum": (("momentum=0.9",), "momentum", None),
    "Adam": (("adam",), "adam", None),
}

TABLES: dict[int, Table] = {
    table.number: table
    for table in (
        _tests(1, "Tests of LeNet's gradients in both directions, B = 100",
               _both_directions((LENET, LENET_TRAINED, LENET_CIFAR, LENET_CIFAR_TRAINED))),
        _spectra(2, "Covariance spectra of LeNet and FCN", COVARIANCE, (
            history(LENET_TRAINED, 1), history(LENET, 1), history(LENET_CIFAR_TRAINED, 1), history(LENET_CIFAR, 1),
            both_orders(FCN_TRAINED), both_orders(FCN),
        )),
        _spectra(3, "Eigengaps of the covariance of LeNet and FCN", EIGENGAPS, (
            history(LENET_TRAINED, 1), history(LENET, 1), both_orders(FCN_TRAINED), both_orders(FCN),
        )),
        _tests(4, "Tests of LeNet's gradients on MNIST by batch size",
               [(history(LENET, b), axis) for axis in ("iteration", "dimension") for b in BATCH_SIZES]),
        _tests(5, "Tests of ResNet18's gradients in both directions, B = 100, T = K = 200",
               _both_directions((RESNET_CIFAR, trained(RESNET_CIFAR), RESNET_CIFAR100, trained(RESNET_CIFAR100)))),
        _spectra(6, "Second-moment spectra of LeNet on MNIST by batch size", SECOND_MOMENT,
                 [history(network, b) for network in (LENET_TRAINED, LENET) for b in SPECTRUM_BATCH_SIZES]),
        _spectra(7, "Covariance spectra of LeNet on MNIST: batch size, label noise, clipping", COVARIANCE, (
            *(history(network, b) for network in (LENET, LENET_TRAINED) for b in SPECTRUM_BATCH_SIZES[:-1]),
            *(history(noisy(LENET, noise), 1) for noise in ALL_NOISE),
            *(history(LENET_TRAINED, 1, f"clip-norm={norm}") for norm in (1, 0.1)),
        )),
        _spectra(8, "Second-moment spectra of FCN on MNIST: width and depth", SECOND_MOMENT, (
            both_orders(FCN_TRAINED), both_orders(FCN), both_orders(FCN),
            *(both_orders(replace(network, width=width)) for network in (FCN_TRAINED, FCN) for width in (70, 30, 10)),
            _one_layer(FCN), _one_layer(FCN_TRAINED),
        )),
        _spectra(9, "Second-moment spectra of linear networks on MNIST", SECOND_MOMENT,
                 [history(trained(network), FCN_BATCH) for network in (LNN, LNN_BN, LNN_RELU)]),
        _spectra(10, "Covariance spectra of LeNet on CIFAR-10: clipping and optimisers", COVARIANCE, (
            history(LENET_CIFAR_TRAINED, 1), history(LENET_CIFAR, 1), history(LENET_CIFAR_TRAINED, 1, "clip-norm=0.1"),
            *(_optimiser(*settings) for settings in OPTIMISERS.values()),
        )),
        _spectra(11, "Covariance spectra of LeNet on CIFAR-100", COVARIANCE, (
            history(trained(LENET_CIFAR100), 1), history(LENET_CIFAR100, 1), history(trained(LENET_CIFAR100), 1),
        )),
    )
}  # fmt: skip


def _read_noise_as_covariance(table: Table) -> Table:
    """Row 3 of Table 8 is set apart as "Noise" in a table of second moments: gradient noise, the centred covariance."""
    note = 'the published setting "Noise" is read as gradient noise: the covariance instead of the second moment'
    rows = (replace(row, quantity=COVARIANCE, note=note) if row.number == 3 else row for row in table.rows)
    return replace(table, rows=tuple(rows))


TABLES[8] = _read_noise_as_covariance(TABLES[8])
