"""Readings: the choices that a paper leaves open, as data, and one choice of all of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from gradlaw.errors import InputError
from gradlaw.reproduction.experiment import Experiment


@dataclass(frozen=True, eq=False)
class Axis:
    """One choice that a paper leaves open.

    Attributes:
        name: as the command line knows it.
        question: what the paper does not say.
        options: what each means, by name; the first is the one that was read first.
        applies: whether an experiment has the choice at all.
        apply: the experiment under an option.
        quantity: of a row of spectra, the matrix under an option, from the one that is declared.
    """

    name: str
    question: str
    options: Mapping[str, str]
    applies: Callable[[Experiment], bool]
    apply: Callable[[Experiment, str], Experiment]
    quantity: Callable[[str, str], str] = lambda declared, option: declared

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
        return Reading(tuple(chosen[axis.name] for axis in axes if axis.name in chosen))

    def experiment(self, experiment: Experiment) -> Experiment:
        """The experiment under this reading, by one axis after another in the order in which they are declared."""
        for axis, option in self.options:
            if axis.applies(experiment):
                experiment = axis.apply(experiment, option)
        return experiment

    def quantity(self, declared: str) -> str:
        """What a row shows under this reading, from what it is declared to show."""
        for axis, option in self.options:
            declared = axis.quantity(declared, option)
        return declared

    def idle(self, experiments: Iterable[Experiment]) -> list[str]:
        """The options that none of some experiments has the choice of, as texts."""
        found, some = [], list(experiments)
        for axis, option in self.options:
            if not any(map(axis.applies, some)):
                found.append(f"{axis.name}={option}")
            some = [axis.apply(experiment, option) if axis.applies(experiment) else experiment for experiment in some]
        return found

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
        alone: further readings, each of which changes one thing from the first.
    """

    name: str
    axes: tuple[Axis, ...]
    choose: tuple[str, ...]
    check: tuple[str, ...]
    fixed: Reading = AS_DECLARED
    alone: tuple[Reading, ...] = ()

    @property
    def readings(self) -> list[Reading]:
        """All that are compared; how many were tried is part of the result."""
        return all_readings(self.axes) + list(self.alone)
