"""Readings: the choices that a paper leaves open, as data, and one choice of all of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gradlaw.errors import InputError
from gradlaw.reproduction.experiment import Experiment, NetworkSpec


@dataclass(frozen=True, eq=False)
class Axis:
    """One choice that a paper leaves open.

    Attributes:
        name: as the command line knows it.
        question: what the paper does not say.
        options: what each means, by name; the first is the one that was read first.
        applies: whether a network has the choice at all.
        apply: the network under an option.
    """

    name: str
    question: str
    options: Mapping[str, str]
    applies: Callable[[NetworkSpec], bool]
    apply: Callable[[NetworkSpec, str], NetworkSpec]

    @property
    def first(self) -> str:
        """The option that was read first."""
        return next(iter(self.options))


@dataclass(frozen=True)
class Reading:
    """An option for some axes; the networks stay as they were declared in all others.

    Attributes:
        options: pairs of an axis and the name of its option.
    """

    options: tuple[tuple[Axis, str], ...] = ()

    @staticmethod
    def parse(text: str, axes: Sequence[Axis]) -> "Reading":
        """From ``"axis=option,axis=option"``.

        Raises:
            InputError: an unknown axis or option, or an axis twice.
        """
        by_name = {axis.name: axis for axis in axes}
        chosen: dict[str, tuple[Axis, str]] = {}
        for part in text.split(","):
            name, _, option = (word.strip() for word in part.partition("="))
            if name not in by_name:
                raise InputError(f"the paper leaves no {name!r} open; there are {', '.join(by_name)}")
            if name in chosen:
                raise InputError(f"{name} is given twice in {text!r}")
            if option not in by_name[name].options:
                raise InputError(f"{name}={option}: there are {', '.join(by_name[name].options)}")
            chosen[name] = (by_name[name], option)
        return Reading(tuple(chosen.values()))

    def network(self, network: NetworkSpec) -> NetworkSpec:
        """The network under this reading."""
        for axis, option in self.options:
            if axis.applies(network):
                network = axis.apply(network, option)
        return network

    def experiment(self, experiment: Experiment) -> Experiment:
        """The same of its network."""
        return replace(experiment, network=self.network(experiment.network))

    @property
    def is_first(self) -> bool:
        """Whether every axis has the option that was read first."""
        return all(option == axis.first for axis, option in self.options)

    def __str__(self) -> str:
        return ",".join(f"{axis.name}={option}" for axis, option in self.options)


AS_DECLARED = Reading()


def all_readings(axes: Iterable[Axis]) -> list[Reading]:
    """Every combination of options, the first reading first."""
    choices = [[(axis, option) for option in axis.options] for axis in axes]
    return [Reading(options) for options in product(*choices)]


@dataclass(frozen=True)
class Family:
    """Rows that one reading must explain together.

    Attributes:
        name: as the command line knows it.
        axes: the choices that it has.
        choose: names of the rows that a reading is chosen by.
        check: names of the rows that the choice is held against; they have no part in it.
        fixed: what is assumed of all its readings.
    """

    name: str
    axes: tuple[Axis, ...]
    choose: tuple[str, ...]
    check: tuple[str, ...]
    fixed: Reading = AS_DECLARED

    @property
    def readings(self) -> list[Reading]:
        """All that are compared; how many were tried is part of the result."""
        return all_readings(self.axes)
