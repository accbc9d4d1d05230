"""What is claimed of training, and the rules that decide it: written before any result was looked at.

Every rule goes through all rows that were measured; a check is one seed (of one subspace, network or pair of points).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from gradlaw.reproduction.claim import outcome
from studies.consequences.design import (
    BULK,
    DOMINANT,
    EDGE_SETTLED,
    ENDS,
    FCN,
    GPT,
    LENET,
    REFRESH,
    SGD,
    SWITCH,
)

Tables = Mapping[str, pd.DataFrame]
Checks = Iterator[tuple[str, bool]]
SETTLED = 0.15  # relative distance from 2 / eta
RISE = 0.5  # of 2 / eta, at the start
NOISE = 0.01  # share of the noise along one direction
ALIGNED = 0.9  # ||P g|| / ||g||
NO_PROGRESS, SAME_PROGRESS = 0.1, 0.9  # of what SGD gains
KEPT = 0.5  # overlap
LOCALISED = 0.5  # of the participation ratio of random vectors
ROUNDING = 1e-4  # of a sine, from eigenvectors that are converged to 1e-4


@dataclass(frozen=True)
class Claim:
    """A statement, where it was published, and the rule that decides it from the tables of results."""

    name: str
    sentence: str
    source: str
    statistic: str
    rule: Callable[[Tables], Checks]

    def decide(self, tables: Tables) -> tuple[str, list[tuple[str, bool]]]:
        """The outcome, and the checks."""
        checks = list(self.rule(tables))
        return outcome([holds for _, holds in checks]), checks


def _settled(tables: Tables) -> pd.DataFrame:
    return tables["edge"][tables["edge"].epoch >= EDGE_SETTLED]


def _batch_sharpness(tables: Tables) -> Checks:
    for seed, rows in _settled(tables).groupby("seed"):
        mean, threshold = rows.batch_sharpness.mean(), rows.threshold.iloc[0]
        yield f"seed {seed}: {mean:.0f} of {threshold:.0f}", bool(abs(mean / threshold - 1) <= SETTLED)


def _rises(tables: Tables) -> Checks:
    for seed, rows in tables["edge"][tables["edge"].epoch == 0].groupby("seed"):
        value, threshold = rows.batch_sharpness.iloc[0], rows.threshold.iloc[0]
        yield f"seed {seed}: {value:.3g} at the start", bool(value < RISE * threshold)


def _top_below(tables: Tables) -> Checks:
    for _, row in _settled(tables).iterrows():
        text = f"seed {row.seed:.0f}, epoch {row.epoch:.0f}: {row.top_eigenvalue:.0f} below {row.batch_sharpness:.0f}"
        yield text, bool(row.top_eigenvalue < row.batch_sharpness)


def _noise(tables: Tables) -> Checks:
    for _, row in _settled(tables).iterrows():
        text = f"seed {row.seed:.0f}, epoch {row.epoch:.0f}: {row.noise_share:.1%}"
        yield text, bool(row.noise_share >= NOISE)


def _aligned(tables: Tables) -> Checks:
    shares = tables["shares"]
    for (subspace, seed), rows in shares[shares.step >= SWITCH].groupby(["subspace", "seed"]):
        yield f"{subspace}, seed {seed}: {rows.alignment.mean():.2f}", bool(rows.alignment.mean() >= ALIGNED)


def gains(tables: Tables) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Subspace, seed, and what each way of training gained after the switch."""
    losses = tables["losses"]
    for seed, rows in losses.groupby("seed"):
        start = rows[(rows.way == SGD) & (rows.step == SWITCH)].loss.iloc[0]
        for subspace, projected in rows[rows.way != SGD].groupby("subspace"):
            together = pd.concat([rows[rows.way == SGD], projected])
            ends = together.sort_values("step").groupby("way").loss.apply(lambda loss: loss.tail(ENDS).mean())
            yield str(subspace), int(seed), (start - ends).to_dict()


def _dominant(tables: Tables) -> Checks:
    for subspace, seed, gained in gains(tables):
        share = gained[DOMINANT] / gained[SGD]
        yield f"{subspace}, seed {seed}: {share:.1%} of the gain of SGD", bool(share <= NO_PROGRESS)


def _bulk(tables: Tables) -> Checks:
    for subspace, seed, gained in gains(tables):
        share = gained[BULK] / gained[SGD]
        yield f"{subspace}, seed {seed}: {share:.1%} of the gain of SGD", bool(share >= SAME_PROGRESS)


def _kept(tables: Tables) -> Checks:
    rotation = tables["rotation"]
    for _, row in rotation[rotation.span > REFRESH].iterrows():
        text = f"{row.subspace}, seed {row.seed:.0f}, steps {row.step:.0f} to {row.step + row.span:.0f}"
        yield f"{text}: overlap {row.overlap:.2f}", bool(row.overlap >= KEPT)


def _bound_holds(tables: Tables) -> Checks:
    for (subspace, seed), rows in tables["rotation"].groupby(["subspace", "seed"]):
        met = rows.sine <= rows.bound + ROUNDING
        yield f"{subspace}, seed {seed}: {met.sum()} of {len(rows)} pairs", bool(met.all())


def _bound_informs(tables: Tables) -> Checks:
    rotation = tables["rotation"]
    for (subspace, seed), rows in rotation[rotation.span == REFRESH].groupby(["subspace", "seed"]):
        below = (rows.bound < 1).sum()
        yield f"{subspace}, seed {seed}: {below} of {len(rows)} bounds below 1", bool(2 * below >= len(rows))


def _localised(column: str) -> Callable[[Tables], Checks]:
    def rule(tables: Tables) -> Checks:
        for (network, matrix, seed), rows in tables["eigenvectors"].groupby(["network", "matrix", "seed"]):
            ratio = (rows.participation_ratio / rows[column]).median()
            yield f"{network}, {matrix}, seed {seed}: {ratio:.2f} of random", bool(ratio < LOCALISED)

    return rule


def _larger_for_gpt(table: str, column: str) -> Callable[[Tables], Checks]:
    def rule(tables: Tables) -> Checks:
        values = tables[table].set_index(["network", "seed"])[column]
        for seed in sorted(tables[table].seed.unique()):
            for other in (LENET, FCN):
                if (GPT, seed) in values.index and (other, seed) in values.index:
                    gpt, its = values[GPT, seed], values[other, seed]
                    yield f"seed {seed}: GPT {gpt:.3g}, {other} {its:.3g}", bool(gpt > its)

    return rule


EDGE = "Andreyev, Beneventano 2024"
SONG = "Song, Ahn, Yun 2025"
ZHANG = "Zhang et al. 2024"
GUR_ARI = "Gur-Ari, Roberts, Dyer 2018"
CLAIMS = (
    Claim(
        "batch sharpness settles at 2 / eta",
        "Under SGD the batch sharpness settles at 2 / eta = 200.",
        EDGE,
        f"its mean over the points from epoch {EDGE_SETTLED} on is within {SETTLED:.0%} of 2 / eta",
        _batch_sharpness,
    ),
    Claim(
        "batch sharpness rises to it",
        "It gets there from below.",
        EDGE,
        f"at the start it is below {RISE:.0%} of 2 / eta",
        _rises,
    ),
    Claim(
        "the largest eigenvalue stays below",
        "The largest eigenvalue of the Hessian stays below the batch sharpness.",
        EDGE,
        f"it is below at every point from epoch {EDGE_SETTLED} on",
        _top_below,
    ),
    Claim(
        "noise piles up along the sharpest direction",
        "A visible share of the gradient noise is along the top eigenvector of the Hessian.",
        "ours",
        f"at least {NOISE:.0%} of the noise's variance at every point from epoch {EDGE_SETTLED} on",
        _noise,
    ),
    Claim(
        "the gradient is in the dominant subspace",
        "The gradient lies almost wholly in the span of the 10 leading eigenvectors.",
        f"{GUR_ARI}; {SONG}",
        f"mean ||P g|| / ||g|| of the full gradient along SGD after step {SWITCH} is at least {ALIGNED:g}",
        _aligned,
    ),
    Claim(
        "Dom-SGD does not learn",
        "Updates within the dominant subspace do not reduce the loss further.",
        SONG,
        f"it gains at most {NO_PROGRESS:.0%} of what SGD gains from the same step and minibatches",
        _dominant,
    ),
    Claim(
        "Bulk-SGD learns as SGD does",
        "Updates without the dominant subspace reduce the loss as well as SGD.",
        SONG,
        f"it gains at least {SAME_PROGRESS:.0%} of what SGD gains from the same step and minibatches",
        _bulk,
    ),
    Claim(
        "the subspace is kept",
        "The dominant subspace is mostly preserved over long periods of training.",
        GUR_ARI,
        f"mean squared cosine of its principal angles between step {SWITCH} and the last at least {KEPT:g}",
        _kept,
    ),
    Claim(
        "the Davis-Kahan bound is met",
        "The subspace turns no further than perturbation and eigengap allow (a theorem: this checks the measurement).",
        "Yu, Wang, Samworth 2015",
        "sine of the largest angle at most the bound, for every pair of points",
        _bound_holds,
    ),
    Claim(
        "the Davis-Kahan bound says something",
        f"What changes in {REFRESH} steps is small beside the eigengap, so that the theorem holds the subspace.",
        "ours",
        f"the bound is below 1 for at least half of the pairs {REFRESH} steps apart",
        _bound_informs,
    ),
    Claim(
        "leading eigenvectors are localised",
        "Leading eigenvectors sit on fewer coordinates than random vectors do.",
        "ours",
        f"median participation ratio below {LOCALISED:g} of that of Gaussian vectors",
        _localised("gaussian"),
    ),
    Claim(
        "and not by their layers alone",
        "They do so within the tensors, beyond the share that each tensor has.",
        "ours",
        f"median participation ratio below {LOCALISED:g} of that of vectors random within each tensor",
        _localised("by_tensor"),
    ),
    Claim(
        "blocks of a transformer are more unlike in scale",
        "The Hessian spectra of its weights are further apart than those of LeNet and of a fully connected network.",
        ZHANG,
        "mean Jensen-Shannon distance of the eigenvalues as they are is larger for the GPT",
        _larger_for_gpt("blocks", "distance"),
    ),
    Claim(
        "blocks of a transformer are more unlike in shape",
        "So they are when each is divided by its largest eigenvalue.",
        "ours",
        "mean Jensen-Shannon distance of the eigenvalues over their largest is larger for the GPT",
        _larger_for_gpt("blocks", "shape_distance"),
    ),
    Claim(
        "exponents of a transformer's matrices differ more",
        "The exponents of the gradient spectra of its weight matrices spread more widely.",
        "ours",
        "standard deviation of s over the weight matrices is larger for the GPT",
        _larger_for_gpt("blocks", "exponent_deviation"),
    ),
)
