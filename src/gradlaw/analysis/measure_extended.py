"""How the extended statistics are measured; loaded where they are asked for, since it needs pandas."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.choices import Axis
from gradlaw.history import GradientHistory
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.problem import layer_groups
from gradlaw.progress import SILENT, Progress
from gradlaw.ranks import ALONE, RankGroup
from gradlaw.stats import GradientTests
from gradlaw.stats.alpha_stable import stable_index_rows
from gradlaw.stats.alternatives import compare_tails
from gradlaw.stats.gaussianity import gaussianity_rows
from gradlaw.stats.groups import group_rates, rates_by_group
from gradlaw.stats.series import AXES
from gradlaw.stats.tail_index import hill_rows, moment_rows
from gradlaw.stats.tail_start import scan_tail_start
from gradlaw.stats.uncertainty import exponent_uncertainty

SHORTEST_SCANNED = 50  # values in a tail that the scan over lambda_min may choose
SHORTEST_SUMMED = 4  # values of which the alpha-stable index can sum any
LAYER_INDEX = ("axis", "group", "name")


def measure_extended(
    history: GradientHistory | ShardedHistory,
    tests: Mapping[str, GradientTests],
    tails: Mapping[str, tuple[np.ndarray, int]],
    progress: Progress | None = None,
) -> ExtendedStatistics:
    """Measure what :func:`gradlaw.analyze` leaves out for its cost.

    Args:
        history: the gradient history; of one that ranks share, each looks at the series that fall to it.
        tests: of its series, by axis; their k, seed and level are used throughout.
        tails: samples whose tails to compare with other families, by name, and how many of their largest values to use.
            Samples without that many positive and different values are left out.
        progress: where to show it.
    """
    progress = progress or SILENT
    used, ranks = _usable_tails(tails), _ranks_of(history)
    return ExtendedStatistics(
        layers=_layers(history, tests, progress),
        tail_indices=_tail_indices(history, tests, progress),
        gaussianity=_gaussianity(history, progress),
        exponents=ranks.first(lambda: _exponents(used, tests["dimension"].seed, progress)),
        comparisons=ranks.first(lambda: _comparisons(used, progress)),
    )


def _ranks_of(history: GradientHistory | ShardedHistory) -> RankGroup:
    return history.ranks if isinstance(history, ShardedHistory) else ALONE


def _blocks(history: GradientHistory | ShardedHistory, axis: Axis) -> Iterator[tuple[int, Tensor]]:
    """All series, or those that fall to this rank."""
    return history.blocks_here(axis) if isinstance(history, ShardedHistory) else history.blocks(axis)


def _layers(
    history: GradientHistory | ShardedHistory, tests: Mapping[str, GradientTests], progress: Progress
) -> pd.DataFrame:
    groups = layer_groups(history.layout)
    t = tests["dimension"]
    with progress.stage("test layer by layer"):
        frames = {
            "dimension": rates_by_group(history, groups, "dimension", t.k, t.gaussian_k, t.alpha, t.seed),
            "iteration": group_rates(tests["iteration"], groups),
        }
    frame = pd.concat(frames)
    frame.index = frame.index.set_names(LAYER_INDEX)
    return frame.drop(columns="axis").reset_index()


def _tail_indices(
    history: GradientHistory | ShardedHistory, tests: Mapping[str, GradientTests], progress: Progress
) -> pd.DataFrame:
    frames, ranks = [], _ranks_of(history)
    means = torch.cat([block.double().mean(dim=1).to(block.dtype) for _, block in _blocks(history, "iteration")])
    mean = ranks.joined(means[None], history.shape[1])[0]
    for axis in AXES:
        parts = []
        with progress.stage(f"tail indices, {axis}-wise", tests[axis].series) as advance:
            for first, block in _blocks(history, axis):
                of_block = mean if axis == "dimension" else mean[first : first + len(block), None]
                parts.append(_indices_of_rows(block, block - of_block, tests[axis]))
                advance(len(block) * ranks.size)
        frame = pd.concat([part for share in ranks.gather(parts) for part in share], ignore_index=True)
        frame.insert(0, "axis", axis)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).astype({"axis": "category"})


def _indices_of_rows(rows: Tensor, noise: Tensor, tests: GradientTests) -> pd.DataFrame:
    """Estimates from gradients ``rows`` and from the same less their mean over the iterations.

    Series too short for an estimator get an infinite index from it, as those do that have none.
    """
    none = torch.full((len(rows),), torch.inf)
    k = min(tests.k, tests.length - 1)  # the threshold is the next value
    summable = tests.length >= SHORTEST_SUMMED
    columns = {
        "alpha_stable": stable_index_rows(noise).alpha if summable else none,
        "alpha_stable_permuted": stable_index_rows(noise, shuffle_seed=tests.seed).alpha if summable else none,
        "hill": hill_rows(rows, k).index,
        "moment": moment_rows(rows, k).index if k > 1 else none,
    }
    return pd.DataFrame({name: torch.as_tensor(column).cpu().numpy() for name, column in columns.items()})


def _gaussianity(history: GradientHistory | ShardedHistory, progress: Progress) -> pd.DataFrame:
    parts, ranks = [], _ranks_of(history)
    with progress.stage("Gaussianity on all iterations", history.shape[1]) as advance:
        for _, block in _blocks(history, "iteration"):
            columns = asdict(gaussianity_rows(block))
            parts.append(pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()}))
            advance(len(block) * ranks.size)
    return pd.concat([part for share in ranks.gather(parts) for part in share], ignore_index=True)


def _usable_tails(tails: Mapping[str, tuple[np.ndarray, int]]) -> dict[str, tuple[np.ndarray, int]]:
    """The samples whose k largest magnitudes are positive and not all equal."""
    usable = {}
    for name, (values, k) in tails.items():
        largest = np.sort(np.abs(values))[-k:] if k else values
        if k > 1 and 0 < largest[0] < largest[-1]:
            usable[name] = values, k
    return usable


def _exponents(tails: Mapping[str, tuple[np.ndarray, int]], seed: int, progress: Progress) -> pd.DataFrame:
    rows = []
    with progress.stage("exponents and starts of tails", len(tails)) as advance:
        for name, (values, k) in tails.items():
            u = exponent_uncertainty(values, k, seed=seed)
            row = {"sample": name, "k": k, "s": u.s, "s_standard_error": u.s_standard_error}
            row |= dict(zip(("s_low", "s_high"), u.s_interval, strict=True))
            row |= dict(zip(("s_bootstrap_low", "s_bootstrap_high"), u.s_bootstrap_interval, strict=True))
            best = scan_tail_start(values, smallest=min(SHORTEST_SCANNED, int(np.count_nonzero(values)))).best
            rows.append(row | {"scan_k": best.k, "scan_s": best.s, "scan_d_ks": best.d_ks})
            advance(1)
    return pd.DataFrame(rows)


def _comparisons(tails: Mapping[str, tuple[np.ndarray, int]], progress: Progress) -> pd.DataFrame:
    rows = []
    with progress.stage("compare families of tails", len(tails)) as advance:
        for name, (values, k) in tails.items():
            for alternative in compare_tails(values, k).alternatives:
                record = asdict(alternative)
                record["parameters"] = ", ".join(f"{key} = {v:.6g}" for key, v in record["parameters"].items())
                rows.append({"sample": name, "k": k, **record})
            advance(1)
    return pd.DataFrame(rows)
