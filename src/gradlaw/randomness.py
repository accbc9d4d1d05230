"""Random generators that a forward pass may draw from: those of the process, and those that model and loss hold."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from gradlaw import random_streams
from gradlaw._torch import OperationMode

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
_KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_LEAVES = (str, bytes, int, float, torch.Tensor, np.ndarray, type)
# Held by whatever seeds the process's generators, or looks whether they move: every thread has the same ones. Whoever
# takes the turn of a model as well takes that first.
GENERATORS = threading.RLock()
_DEPTH = 4  # of attributes, elements and closures that are looked into
_MOST_ELEMENTS = 1000  # of a collection; larger ones are data


def generators_in(*roots: Any) -> list[Generator]:
    """The generators that modules, functions (their closures and defaults) and other objects hold."""
    found: list[Generator] = []
    seen: set[int] = set()
    for root in roots:
        _search(root, found, seen, _DEPTH)
        if isinstance(root, nn.Module):
            for module in root.modules():
                _search(module, found, seen, _DEPTH)
    return found


def _search(value: Any, found: list[Generator], seen: set[int], depth: int) -> None:
    if id(value) in seen or depth == 0 or isinstance(value, _LEAVES):
        return
    seen.add(id(value))
    if isinstance(value, _KINDS):
        found.append(value)
        return
    for part in _parts(value):
        _search(part, found, seen, depth - 1)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list | tuple | set):
        if len(value) <= _MOST_ELEMENTS:
            yield from value.values() if isinstance(value, dict) else value
    elif isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    else:
        yield getattr(value, "__self__", None)
        yield from (cell.cell_contents for cell in getattr(value, "__closure__", None) or () if _is_filled(cell))
        yield from getattr(value, "__defaults__", None) or ()
        # Globals that a function names, such as a generator at the top of a script.
        names = getattr(getattr(value, "__code__", None), "co_names", ())
        surroundings = getattr(value, "__globals__", {})
        yield from (surroundings[name] for name in names if isinstance(surroundings.get(name), _KINDS))
        yield from (getattr(type(value), name, None) for name in ("forward", "__call__"))
        yield from vars(value).values() if isinstance(getattr(value, "__dict__", None), dict) else ()


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # the documented sign of an empty cell
        return False
    return True


class RandomState:
    """The states of the process's generators and of some others."""

    def __init__(self, generators: list[Generator]):
        self._generators = generators
        self._states = self._read()

    def has_moved(self) -> bool:
        """Whether any generator has been drawn from since."""
        return self._read() != self._states

    def restore(self) -> None:
        """Put all generators back."""
        for (_, write), state in zip(self._access(), self._states, strict=True):
            write(state)

    def _read(self) -> list[Any]:
        return [read() for read, _ in self._access()]

    def _access(self) -> Iterator[tuple[Callable[[], Any], Callable[[Any], object]]]:
        """Reading and writing the state of each generator, as plain comparable data."""
        yield _torch_bytes(torch.get_rng_state), _torch_write(torch.set_rng_state)
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            for device in range(torch.cuda.device_count()):
                read, write = partial(torch.cuda.get_rng_state, device), torch.cuda.set_rng_state
                yield _torch_bytes(read), _torch_write(partial(write, device=device))
        yield random.getstate, random.setstate
        yield _legacy_read(np.random), np.random.set_state
        for generator in self._generators:
            if isinstance(generator, torch.Generator):
                yield _torch_bytes(generator.get_state), _torch_write(generator.set_state)
            elif isinstance(generator, np.random.Generator):
                yield _numpy_read(generator), partial(setattr, generator.bit_generator, "state")
            elif isinstance(generator, np.random.RandomState):
                yield _legacy_read(generator), generator.set_state
            else:
                yield generator.getstate, generator.setstate


def _torch_bytes(read: Callable[[], torch.Tensor]) -> Callable[[], bytes]:
    return lambda: read().cpu().numpy().tobytes()


def _torch_write(write: Callable[[torch.Tensor], object]) -> Callable[[bytes], object]:
    return lambda state: write(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _legacy_read(source: Any) -> Callable[[], tuple[Any, ...]]:
    def read() -> tuple[Any, ...]:
        kind, keys, *rest = source.get_state(legacy=True)
        return (kind, tuple(keys.tolist()), *rest)

    return read


def _numpy_read(generator: np.random.Generator) -> Callable[[], Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return value.copy().tolist() if isinstance(value, np.ndarray) else value

    return lambda: plain(generator.bit_generator.state)


def modules_that_draw(model: nn.Module, run: Callable[[], object]) -> list[str]:
    """Name and type of the modules in whose forward pass PyTorch draws random numbers while ``run`` is run."""
    inside: list[str] = []
    drawing: list[str] = []
    with ExitStack() as hooks, _Draws(inside, drawing):
        for name, module in model.named_modules():
            label = f"{name} ({type(module).__name__})" if name else type(module).__name__
            enter = module.register_forward_pre_hook(lambda *_, label=label: inside.append(label))
            leave = module.register_forward_hook(lambda *_: inside.pop() and None)
            hooks.callback(enter.remove)
            hooks.callback(leave.remove)
        run()
    return list(dict.fromkeys(drawing))


class _Draws(OperationMode):
    def __init__(self, inside: list[str], drawing: list[str]):
        super().__init__()
        self._inside, self._drawing = inside, drawing

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and self._inside:
            self._drawing.append(self._inside[-1])
        return func(*args, **(kwargs or {}))


@contextmanager
def seeded(generators: list[Generator], seed: int, t: int) -> Iterator[None]:
    """Numbers of its own for iteration t, from every generator; all are left as they were."""
    words = np.random.SeedSequence([random_streams.FORWARD, seed, t]).generate_state(1, np.uint64)
    with process_seeded(int(words[0]), generators):
        for i, generator in enumerate(generators, start=1):
            _seed(generator, [random_streams.FORWARD, seed, t, i])
        yield


@contextmanager
def process_seeded(seed: int, generators: Sequence[Generator] = ()) -> Iterator[None]:
    """PyTorch's, NumPy's and Python's generators start from a seed inside, one thread at a time.

    They, and those of ``generators``, go on as before outside.
    """
    with GENERATORS:
        before = RandomState(list(generators))
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            before.restore()


def _seed(generator: Generator, words: list[int]) -> None:
    sequence = np.random.SeedSequence(words)
    if isinstance(generator, torch.Generator):
        generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(sequence).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(sequence.generate_state(8))
    else:
        generator.seed(int(sequence.generate_state(1, np.uint64)[0]))
