"""What watching a training run costs: CPU seconds of one thread, beside W&B's gradient histograms and gns-pytorch.

ResNet18 on batches of 32 images of 3x32x32, and a GPT of 10.7 million parameters on batches of 4 sequences of 256
tokens, trained by AdamW. Each contender is a process of its own in which plain steps and steps of a watched twin take
turns. What a contender does is timed where it does it, in its hooks or calls; the difference of the medians of whole
steps stands beside it, with the spread of the plain ones. The share is that of all steps at the contender's own
default interval: 100 steps for `gl.watch`, which takes every tenth gradient into its rolling window, and 1,000 for
`wandb.watch` (`log="gradients"`, offline, without what its service process does). gns-pytorch has no interval and is
taken at 100; it estimates a noise scale of the whole model from the gradients of a quarter of the samples, one by
one, and ten parameters. Memory is of the tensors that `gl.watch` keeps from step to step; what it needs beside them
while it describes a gradient, in chunks, is not measured.

python bench/watch_overhead.py     # prints the table; about ten minutes
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, pstdev
from typing import Any

import torch
from contest import OWN, PEERS
from peers.models import GPT, ResNet18
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

STEPS = 12  # of each twin
INTERVALS = {"gl.watch": 100, "wandb.watch": 1000, "gns-pytorch": 100}
MODELS = {"ResNet18": "resnet18", "GPT, 10.7 M": "gpt"}


def make(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with inputs and targets."""
    torch.manual_seed(0)
    if name == "resnet18":
        return ResNet18(), torch.randn(32, 3, 32, 32), torch.randint(10, (32,))
    tokens = torch.randint(65, (4, 257))
    return GPT(vocabulary=65, context=256, width=384, depth=6, heads=6), tokens[:, :-1], tokens[:, 1:]


def losses(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each sample."""
    outputs = model(inputs)
    if outputs.ndim == 2:
        return cross_entropy(outputs, targets, reduction="none")
    return cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(dim=1)


class Clock:
    """Adds up the CPU time of what it is put around."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed; what it calls of its kind is not counted twice."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self._depth += 1
            start = time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - start

        return timed

    def taken(self) -> float:
        """What was added up since this was asked."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


Kind = str
Extra = Callable[[Tensor], None]


@contextmanager
def gl_watch(model: nn.Module, optimizer: Any, clock: Clock) -> Iterator[tuple[list[Kind], Extra, Callable[[], int]]]:
    """Of four steps one watched, one of which nothing is taken, one for the rolling window, which is full, and one
    whose update is taken for the next's cosine.
    """
    from gradlaw.watch.gradient_state import Deliveries
    from gradlaw.watch.recorder import Watch

    for owner, names in ((Watch, ("_before_step", "_after_step")), (Deliveries, ("_arrives", "_added", "_measure"))):
        for name in names:
            setattr(owner, name, clock.around(getattr(owner, name)))
    with tempfile.TemporaryDirectory() as folder, _full(model, optimizer, f"{folder}/log") as watch:
        yield ["watched", "idle", "window", "before"], lambda _: None, lambda: kept_bytes(watch)


def _full(model: nn.Module, optimizer: Any, log: str) -> Any:
    """A watch whose window is full, of random gradients."""
    import gradlaw as gl

    watch = gl.watch(model, optimizer, log=log, every=4, window_every=2)
    for step in range(watch._window.length):
        watch._window.add(step, [torch.randn_like(p) for p in model.parameters()])
    return watch


def kept_bytes(watch: Any) -> int:
    """Of all tensors that a watch holds, those of the model and optimiser left out."""
    own = {id(p) for layer in watch._layers for p in layer.parameters}
    seen: set[int] = set()

    def size(value: Any) -> int:
        if id(value) in seen or isinstance(value, nn.Module | torch.optim.Optimizer):
            return 0
        seen.add(id(value))
        if isinstance(value, Tensor):
            return 0 if id(value) in own else value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        if isinstance(value, list | tuple):
            return sum(map(size, value))
        return size(vars(value)) if type(value).__module__.startswith("gradlaw") else 0

    return size(vars(watch))


@contextmanager
def wandb_watch(model: nn.Module, optimizer: Any, clock: Clock) -> Iterator[tuple[list[Kind], Extra, None]]:
    """Histograms of all gradients at every second step."""
    import wandb
    from wandb.integration.torch.wandb_torch import TorchHistory

    TorchHistory.log_tensor_stats = clock.around(TorchHistory.log_tensor_stats)
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
        wandb.watch(model, log="gradients", log_freq=2)
        yield ["idle", "watched"], clock.around(lambda loss: run.log({"loss": float(loss)})), None
        run.finish()


@contextmanager
def gns_pytorch(model: nn.Module, optimizer: Any, clock: Clock) -> Iterator[tuple[list[Kind], Extra, None]]:
    """A call before each backward pass; see :func:`run`."""
    yield ["watched"], lambda _: None, None


@contextmanager
def plain(model: nn.Module, optimizer: Any, clock: Clock) -> Iterator[tuple[list[Kind], Extra, None]]:
    """Nothing: how far the difference of two twins is from zero."""
    yield ["idle"], lambda _: None, None


CONTENDERS = {"gl.watch": gl_watch, "wandb.watch": wandb_watch, "gns-pytorch": gns_pytorch, "plain loop": plain}


def run(contender: str, name: str) -> None:
    """Take turns between plain and watched steps, and print what they took: one line of JSON."""
    torch.set_num_threads(1)
    twins = []
    for _ in range(2):
        model, inputs, targets = make(name)
        twins.append((model, torch.optim.AdamW(model.parameters(), lr=1e-4)))
    clock = Clock()
    gns = None
    if contender == "gns-pytorch":
        from gns_pytorch import compute_gns

        gns = clock.around(compute_gns)

    def step(which: int, extra: Extra, call: Any = None) -> float:
        model, optimizer = twins[which]
        start = time.process_time()
        optimizer.zero_grad()
        each = losses(model, inputs, targets)
        if call is not None:
            call(each, model)
        loss = each.mean()
        loss.backward()
        optimizer.step()
        extra(loss.detach())
        return time.process_time() - start

    seconds: dict[str, list[float]] = defaultdict(list)
    inside: dict[str, list[float]] = defaultdict(list)
    for _ in range(3):
        step(0, lambda _: None)
    with CONTENDERS[contender](*twins[1], clock) as (kinds, extra, kept):
        for number in range(STEPS):
            seconds["plain"].append(step(0, lambda _: None))
            clock.taken()
            kind = kinds[number % len(kinds)]
            seconds[kind].append(step(1, extra, gns))
            inside[kind].append(clock.taken())
        memory = None if kept is None else kept()
    outcome = {
        "parameters": sum(p.numel() * p.element_size() for p in twins[0][0].parameters()),
        "plain": median(seconds["plain"]),
        "spread": pstdev(seconds["plain"]),
        "difference": median(seconds["watched"] or seconds["idle"]) - median(seconds["plain"]),
        # The first watched step draws the sample and simulates the verdicts' false alarms, once a run.
        "inside": {kind: median(values[1:]) for kind, values in inside.items()},
        "first": inside["watched"][0] if inside["watched"] else 0.0,
        "kept": memory,
    }
    print(json.dumps(outcome))


def table() -> str:
    """The measurement in Markdown."""
    lines = [
        "| network | contender | plain step, s | in a measured step, ms | first, ms | whole steps differ by, ms "
        "| in other steps, ms | for the window, ms | share at its interval | kept, of the model's memory |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for title, name in MODELS.items():
        lines += [_row(title, contender, _measure(contender, name)) for contender in CONTENDERS]
    return "\n".join(lines)


def _measure(contender: str, name: str) -> dict[str, Any]:
    interpreter = PEERS if contender == "gns-pytorch" else OWN
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    command = [str(interpreter), __file__, contender, name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _row(title: str, contender: str, found: dict[str, Any]) -> str:
    plain_step, inside = found["plain"], found["inside"]
    cells = [title, contender, f"{plain_step:.2f}", "", "", "", "", "", "", ""]
    cells[5] = f"{1e3 * found['difference']:.0f} (spread {1e3 * found['spread']:.0f})"
    if "watched" in inside:
        every = INTERVALS[contender]
        others = (every - 1) * inside.get("idle", 0.0)
        if "window" in inside:  # of every tenth step, one of which is watched
            others = (
                inside["before"] + (every // 10 - 1) * inside["window"] + (every - every // 10 - 1) * inside["idle"]
            )
        share = (inside["watched"] + others) / every / plain_step
        cells[3:5] = [f"{1e3 * inside['watched']:.1f}", f"{1e3 * found['first']:.0f}"]
        window = f"{1e3 * inside['window']:.1f}" if "window" in inside else ""
        cells[6:9] = [f"{1e3 * inside.get('idle', 0.0):.2f}", window, f"{share:.3%}"]
    if found["kept"] is not None:
        cells[9] = f"{found['kept'] / found['parameters']:.1%}"
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(*sys.argv[1:])
    else:
        print(table())
