"""Runs what is missing, in this process or in several, and keeps every finished result."""

import os
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from gradlaw.errors import InputError
from gradlaw.progress import SILENT, Advance, Progress
from gradlaw.reproduction.measure import Context, TrainingTask, refusal
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.store import Store
from gradlaw.reproduction.tasks import Task, WorkList, describe
from gradlaw.reproduction.workers import live_with_parent, workers

_MEMORY_SHARE = 0.8  # of what is free, that parallel tasks may be estimated to take
Refusals = dict[Measurement, str]


@dataclass(frozen=True)
class Runner:
    """Does the tasks of a work list.

    Results are written whole and at once, a training after every epoch: a process that is killed loses the task that
    it was at, and of a training the epoch.

    Attributes:
        context: data, trained parameters, device.
        store: where results go.
        jobs: processes; with one, this process does all.
        shown: show progress.
    """

    context: Context
    store: Store
    jobs: int = 1
    shown: bool = False

    def run(self, work: WorkList, memory: Mapping[Task, float], free: float) -> Refusals:
        """Do all tasks; returns those measurements that were refused, and why.

        ``memory`` is what each task is estimated to take and ``free`` what there is, in bytes: tasks run side by side
        as far as they fit.
        """
        self.store.folder.mkdir(parents=True, exist_ok=True)
        self.store.remove_unfinished()
        if self.jobs == 1:
            return self._in_turn(work)
        return self._in_parallel(work, memory, free)

    def _in_turn(self, work: WorkList) -> Refusals:
        refused: dict[Task, str] = {}
        for i, task in enumerate(work.todo, 1):
            with Progress(self.shown) as progress:
                progress.say(f"[{i}/{len(work.todo)}] {describe(task)}")
                reason = _blocked(task, refused) or perform(task, self.context, self.store, progress)
                if reason:
                    refused[task] = reason
                    progress.say(f"    not done: {reason}")
        return _of_measurements(refused)

    def _in_parallel(self, work: WorkList, memory: Mapping[Task, float], free: float) -> Refusals:
        waiting, refused = list(work.todo), dict[Task, str]()
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        with Progress(self.shown) as progress, progress.stage("measure", len(waiting)) as advance:
            while waiting:  # a pool ends with the first of its processes that dies
                with workers(self.jobs, _start_worker, (self.context, self.store, threads)) as pool:
                    lost = self._until_one_dies(pool, waiting, refused, memory, free, progress, advance)
                for task in lost:
                    refused[task] = _reason_of_death(lost)
                    progress.say(f"{describe(task)}: {refused[task]}")
                    advance(1)
        return _of_measurements(refused)

    def _until_one_dies(
        self, pool: ProcessPoolExecutor, waiting: list[Task], refused: dict[Task, str], memory: Mapping[Task, float],
        free: float, progress: Progress, advance: Advance,
    ) -> list[Task]:  # fmt: skip
        """Do what is waiting; returns what ran when a process died, if one did."""
        running: dict[Future[str | None], Task] = {}
        while waiting or running:
            for task in self._startable(waiting, list(running.values()), memory, free):
                waiting.remove(task)
                reason = _blocked(task, refused)
                if reason:
                    refused[task] = reason
                    advance(1)
                else:
                    running[pool.submit(_work, task)] = task
            done, _ = wait(running, return_when=FIRST_COMPLETED) if running else (set(), set())
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                return list(running.values())
            for future in done:
                task, reason = running.pop(future), future.result()
                if reason:
                    refused[task] = reason
                progress.say(f"{describe(task)}: {reason or 'done'}")
                advance(1)
        return []

    def _startable(
        self, waiting: list[Task], running: list[Task], memory: Mapping[Task, float], free: float
    ) -> list[Task]:
        """The next tasks: what they need is done, and they fit beside those that run; one always fits."""
        chosen: list[Task] = []
        for task in waiting:
            busy = running + chosen
            if len(busy) >= self.jobs:
                break
            needs = TrainingTask.of(task) if isinstance(task, Measurement) else None
            taken = sum(memory[other] for other in busy) + memory[task]
            if needs not in waiting + running and (not busy or taken <= _MEMORY_SHARE * free):
                chosen.append(task)
        return chosen


def perform(task: Task, context: Context, store: Store, progress: Progress) -> str | None:
    """Do one task; returns why it was refused, if it was."""
    try:
        if isinstance(task, TrainingTask):
            context.train(task, progress)
        elif task not in store:
            store.save(task, context.measure(task, progress))
    except InputError as error:
        return refusal(error)
    except (MemoryError, torch.OutOfMemoryError):
        return "it does not fit in the memory of this device"
    return None


def _blocked(task: Task, refused: Mapping[Task, str]) -> str | None:
    """The reason why the training that a measurement needs was refused."""
    training = TrainingTask.of(task) if isinstance(task, Measurement) else None
    return refused.get(training) if training is not None else None


def _of_measurements(refused: Mapping[Task, str]) -> Refusals:
    return {task: reason for task, reason in refused.items() if isinstance(task, Measurement)}


def _reason_of_death(lost: list[Task]) -> str:
    beside = f", this or another of {len(lost)} that ran at the time" if len(lost) > 1 else ""
    return f"the process that measured it died{beside} (killed, or out of memory); repeat it, with fewer --jobs"


_CONTEXT: Context  # of a worker process
_STORE: Store


def _start_worker(context: Context, store: Store, threads: int) -> None:
    """What a worker process starts with."""
    global _CONTEXT, _STORE
    live_with_parent()
    _CONTEXT, _STORE = context, store
    torch.set_num_threads(threads)


def _work(task: Task) -> str | None:
    return perform(task, _CONTEXT, _STORE, SILENT)
