"""What a gradient history depends on: typed, frozen, to and from plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from gradlaw.choices import ENGINES
from gradlaw.errors import InputError
from gradlaw.history.stores.precision import StoredPrecision, dtype_name, storage_dtype
from gradlaw.history.transform_order import check_order
from gradlaw.history.transform_text import describe
from gradlaw.history.transforms import Transform
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem


@dataclass(frozen=True)
class SketchSettings:
    """Of the sketches that are kept in place of gradients, and of the tests that are made of each gradient before.

    Attributes:
        size: m, numbers of a sketch.
        seed: of its signs and buckets, and of the draws of the Gaussian test.
        blocks: independent sketches that it is made of.
        k: largest values in a power-law test.
        gaussian_k: values drawn for a Gaussian test; None where a gradient is too short for one.
        alpha: level of the tests.
    """

    size: int
    seed: int
    blocks: int
    k: int
    gaussian_k: int | None
    alpha: float


@dataclass(frozen=True, eq=False)
class HistorySettings(Mapping[str, Any]):
    """The settings of a history, as attributes and, in plain data, by name: ``settings["seed"]``, ``dict(settings)``.

    Attributes:
        iterations: T.
        batch_size: B.
        samples: N, of the data set.
        seed: of the minibatches.
        replacement: whether each minibatch is drawn independently instead of by shuffled epochs.
        engine: asked for before collecting, one of ``ENGINES``; afterwards the one that computed the gradients.
        dtype: that gradients are computed in, such as ``"float32"``.
        storage: the type they are stored in, and once they are, the error of that.
        rounding_alone: parameter tensors whose gradients were seen to be rounding errors and nothing else.
        transforms: applied on the way, in the words of :func:`~gradlaw.history.transform_text.parse_transform`.
        sketch: of sketches that are kept in place of gradients; None, and no name among the others, of gradients.
    """

    iterations: int
    batch_size: int
    samples: int
    seed: int
    replacement: bool
    engine: str
    dtype: str
    storage: StoredPrecision
    rounding_alone: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()
    sketch: SketchSettings | None = None

    @classmethod
    def asked(
        cls,
        problem: Problem,
        iterations: int,
        batch_size: int,
        seed: int,
        engine: str,
        transforms: Sequence[Transform],
        replacement: bool,
        dtype: torch.dtype | str | None,
    ) -> "HistorySettings":
        """Those that :func:`gradlaw.collect` is called with, checked against each other and against the data.

        Raises:
            InputError: no such engine or type, transforms in an order that no optimiser has, or minibatches that the
                data cannot give.
        """
        if engine not in ENGINES:
            raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        check_order(transforms)
        minibatches = Minibatches(problem.samples, batch_size, iterations, seed, replacement)
        return cls(
            iterations=minibatches.iterations,
            batch_size=minibatches.batch_size,
            samples=minibatches.samples,
            seed=minibatches.seed,
            replacement=minibatches.replacement,
            engine=engine,
            dtype=dtype_name(problem.dtype),
            storage=StoredPrecision(dtype_name(storage_dtype(dtype, problem.dtype))),
            transforms=tuple(describe(transform) for transform in transforms),
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "HistorySettings":
        """What :meth:`as_dict` gave, or an earlier version of it, which knew no transforms, storage or rounding alone.

        Raises:
            InputError: settings that are missing, or unknown here.
        """
        missing = [name for name in _ALWAYS_RECORDED if name not in record]
        unknown = [name for name in record if name not in _NAMES]
        if missing or unknown:
            wrong = [f"lack {', '.join(missing)}"] * bool(missing)
            wrong += [f"hold {', '.join(unknown)}, which only a later version of gradlaw knows"] * bool(unknown)
            raise InputError(f"the settings of the gradient history {' and '.join(wrong)}; collect it again")
        storage = StoredPrecision(**record.get("storage", {"dtype": record["dtype"]}))
        names = {name: tuple(record.get(name, ())) for name in ("rounding_alone", "transforms")}
        sketch = None if record.get("sketch") is None else SketchSettings(**record["sketch"])
        return cls(**(dict(record) | names | {"storage": storage, "sketch": sketch}))

    def as_dict(self) -> dict[str, Any]:
        """As plain data, which JSON can hold."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values if self.sketch is not None else {name: v for name, v in values.items() if name != "sketch"}

    def minibatches(self) -> Minibatches:
        """Which samples make each iteration."""
        return Minibatches(self.samples, self.batch_size, self.iterations, self.seed, self.replacement)

    def __getitem__(self, name: str) -> Any:
        return self.as_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self.as_dict() | dict(other)


_NAMES = tuple(field.name for field in fields(HistorySettings))
_ALWAYS_RECORDED = tuple(name for name in _NAMES if name not in ("storage", "rounding_alone", "transforms", "sketch"))
