"""What the page says in words; every number in them comes from the results."""

from collections.abc import Iterator, Sequence

import pandas as pd

from studies.transformers.claims import TOP, Decision
from studies.transformers.design import (
    ADAM,
    BATCH_SIZES,
    BATCHES,
    CONTEXT,
    CURVATURE,
    EPOCHS,
    FOLDED,
    LARGE,
    LENET,
    SIZES,
    SMALL,
    SPECTRUM,
    TESTS,
    VOCABULARY,
)
from studies.transformers.formatting import plus_minus, spread
from studies.transformers.noise import AVERAGED, NOISE, PUBLISHED
from studies.transformers.tables import Results


def opening(results: Results) -> str:
    """What the study is, and how to make it again."""
    small, large = (int(next(results.networks_of(TESTS, network=name))[1].dimensions) for name in (SMALL, LARGE))
    return (
        "The paper leaves transformers open. Here its questions are put to a GPT that predicts characters of tiny "
        f"Shakespeare: the zoo's default (*small*, {small:,} parameters) at random and along training, over seeds, and "
        f"nanoGPT's network (*large*, {large:,} parameters) with fewer iterations.\n\n"
        "The kinds of layers come from the modules (`Problem.dimensions_by_module`): a parameter belongs to the "
        "innermost attention, MLP, embedding or LayerNorm that holds it. The readout is tied to the token embedding "
        "and counts there.\n\n"
        "```sh\n"
        "python -m studies.transformers.train_nanogpt nanogpt --text FOLDER  # hours of a core; resumes\n"
        "python -m studies.transformers.run --text FOLDER                    # what is missing of the design; resumes\n"
        "python -m studies.transformers.page                                 # this page, from the committed results\n"
        "```\n\n"
        "with `FOLDER` the folder of the text, and `src` and the repository on `PYTHONPATH`. The results are in "
        "[transformers/results](transformers/results).\n"
    )


def found(results: Results, decisions: Sequence[Decision]) -> str:
    """What came out."""
    parts = (_across_parameters(results), _across_iterations(results), _spectra(results), _outliers(results),
             _hessian(results), _optimisers(results), _noise(results))  # fmt: skip
    return "".join(f"- {part}\n" for part in parts)


def _rates(results: Results, axis: str, group: str, column: str, point: int, network: str = SMALL) -> str:
    names = [m.name for m in results.of(TESTS, network=network, point=point) if m.optimiser == ADAM]
    rows = results.rates[results.rates.measurement.isin(names) & (results.rates.axis == axis)]
    return spread(rows[rows.group == group][column], percent=True)


def _across_parameters(results: Results) -> str:
    def calibrated(group: str, point: int) -> str:
        return _rates(results, "dimension", group, "power_law_rate_calibrated", point)

    return (
        "**Across parameters there are heavy tails, but it depends on the layer whether they are power laws.** At "
        f"random the calibrated verdict accepts {calibrated('attention', 0)} of the gradients of attention, "
        f"{calibrated('MLP', 0)} of the MLPs, {calibrated('LayerNorm', 0)} of LayerNorm, {calibrated('embedding', 0)} "
        f"of the embeddings and {calibrated('model', 0)} of the whole model, whose tail is the embeddings'. Trained, "
        f"the whole model comes to {calibrated('model', EPOCHS)}. For the whole model and the MLPs the *published* "
        "verdict is no finding at these sizes: too many Gaussian series pass it."
    )


def _across_iterations(results: Results) -> str:
    def gaussian(group: str, point: int) -> str:
        return _rates(results, "iteration", group, "gaussian_rate", point)

    batches = results.rates[results.rates.measurement.isin([m.name for m in results.of(BATCHES, point=EPOCHS)])]
    at_most = batches[batches.batch_size == BATCH_SIZES[-1]].gaussian_rate
    return (
        f"**Across iterations the noise is Gaussian, as the paper has it**, already for single windows, each the mean "
        f"of {CONTEXT} predictions: {gaussian('model', 0)} of the parameters pass at random, "
        f"{gaussian('model', EPOCHS)} when trained, and {spread(at_most, percent=True)} of the trained ones at B = "
        f"{BATCH_SIZES[-1]}. The embeddings are the exception ({gaussian('embedding', 0)} and "
        f"{gaussian('embedding', EPOCHS)}): a character that a window does not have "
        "leaves little gradient. Hardly any parameter has a power-law tail."
    )


def _frame(results: Results, kind: str, **values: object) -> pd.DataFrame:
    return pd.DataFrame([row for _, row in results.networks_of(kind, **values)])


def _spectra(results: Results) -> str:
    rows, control = _frame(results, TESTS, network=SMALL), _frame(results, SPECTRUM, network=LENET)
    covariance, gaps = (
        [_passes(rows[f"{name}_power_law{suffix}"]) for suffix in ("", "_calibrated")]
        for name in ("covariance", "eigengaps")
    )
    return (
        f"**The covariance spectrum is {_power_law(covariance[1], len(rows))} by the calibrated verdict.** Of "
        f"{len(rows)} spectra of the small network {covariance[0]} pass by the published distance and {covariance[1]} "
        f"by the calibrated one (d_KS {spread(rows.covariance_d_ks)}; critical "
        f"{rows.covariance_d_critical.iloc[0]:.3g} and {rows.covariance_d_calibrated.iloc[0]:.3g}): they bend "
        f"downwards on log-log axes. The gaps between eigenvalues pass {gaps[0]} and {gaps[1]} times. The sizes are "
        f"not the reason: with the same T and K the paper's random LeNet on MNIST has d_KS "
        f"{spread(control.covariance_d_ks)}, s {spread(control.covariance_s)} and "
        f"{', '.join(f'{count:.0f}' for count in control.outliers)} outliers."
    )


def _passes(verdicts: pd.Series) -> int:
    return int((verdicts.astype(str) == "True").sum())


def _power_law(passed: int, all_of_them: int) -> str:
    return "no power law" if not passed else "a power law" if passed == all_of_them else "a power law in part"


def _outliers(results: Results) -> str:
    single = list(results.networks_of(SPECTRUM, network=SMALL, single=True))
    exact = [row for _, row in single if int(row.outliers) == int(row.labels_seen) - 1]
    few = _frame(results, SPECTRUM, network=SMALL, vocabulary=FOLDED[0], point=0, single=True)
    whole = [row for kind in (TESTS, SPECTRUM) for _, row in results.networks_of(
        kind, network=SMALL, point=0, updates="", single=False)]  # fmt: skip
    wide, ten = (
        _frame(results, SPECTRUM, network=SMALL, vocabulary=v, point=0, single=False)[column]
        for v, column in ((FOLDED[0], "wide_outliers"), (FOLDED[1], "wide_largest_drop_after"))
    )
    return (
        "**Outliers count the characters that occur as labels, and the leading eigenvalues of windows show none.** "
        f"With the loss of a single prediction, {len(exact)} of {len(single)} spectra at random have exactly as many "
        "outliers as different characters were to be predicted in the sample, less one: the paper's c - 1. With "
        f"{FOLDED[0]} characters the drop after rank {FOLDED[0] - 1} is {spread(few.drop_at_vocabulary)} and too small "
        f"to count. Of all {VOCABULARY} characters some are too rare to turn up, so that the rule as it was written, "
        f"with the vocabulary for c, holds only in part. With windows of {CONTEXT} predictions, as a GPT is trained, "
        f"the {len(whole)} spectra at random have {sum(int(row.outliers) for row in whole)} outliers in all. A second "
        f"look, with no rule written before it, finds a break far down where the vocabulary is smallest: {FOLDED[0]} "
        f"characters have {' and '.join(f'{count:.0f}' for count in wide)} eigenvalues above it, near {CONTEXT} x "
        f"{FOLDED[0] - 1} = {CONTEXT * (FOLDED[0] - 1)}, as if every position of the window had c - 1 of its own. With "
        f"{FOLDED[1]} characters the largest drop is after rank {' and '.join(f'{r:.0f}' for r in ten)}, near "
        f"{CONTEXT * (FOLDED[1] - 1)}, and too small to count; more characters would need more iterations."
    )


def _hessian(results: Results) -> str:
    lines, overlaps = [], {}
    for point, word in ((0, "at random"), (EPOCHS, "trained")):
        tables = [results.curvature[results.curvature.measurement == m.name].sort_values("k")[:TOP]
                  for m in results.of(CURVATURE, point=point)]  # fmt: skip
        low, high = min(t.ratio.min() for t in tables), max(t.ratio.max() for t in tables)
        overlaps[word] = [t.overlap.iloc[-1] for t in tables]
        lines.append(f"{word} they are {low:.3g} to {high:.3g}, and the overlap {spread(overlaps[word])}")
    return (
        f"**The Hessian is like the covariance in the trained network, and not in the random one.** The ratios of the "
        f"{TOP} leading eigenvalues of H to those of C, and the overlap of the spaces of their {TOP} leading "
        f"eigenvectors: {'; '.join(lines)} (by chance below 0.0001). A window averages {CONTEXT} predictions: were "
        f"these independent and their characters as likely as the network says, H would be {CONTEXT} C."
    )


def _optimisers(results: Results) -> str:
    lines = []
    for optimiser in ("sgd", "momentum", ADAM):
        rows = _frame(results, TESTS, network=SMALL, optimiser=optimiser, point=EPOCHS)
        if len(rows):
            lines.append(f"{optimiser} {spread(rows.covariance_d_ks)} (s {spread(rows.covariance_s)}, test loss "
                         f"{spread(rows.test_loss)})")  # fmt: skip
    updates = []
    for name in ("momentum", ADAM):
        rows = _frame(results, SPECTRUM, network=SMALL, updates=name)
        if len(rows):
            updates.append(f"{name} {spread(rows.covariance_d_ks)}")
    critical = next(results.networks_of(TESTS, network=SMALL))[1]
    return (
        "**Adam does not stand apart.** The paper's division, a power law with SGD and momentum and none with Adam, is "
        f"not here: d_KS of the covariance after {EPOCHS} epochs: {'; '.join(lines)}. Of the updates at random "
        f"parameters: {'; '.join(updates)}. Critical distances: {critical.covariance_d_critical:.3g} and "
        f"{critical.covariance_d_calibrated:.3g}."
    )


def _noise(results: Results) -> str:
    p = PUBLISHED
    rows = results.noise[results.noise.step == p["step"]]
    large = rows[rows.configuration == NOISE[0].name].iloc[0]
    cpu = [f"{spread(rows[rows.configuration == name].noise_scale)} (*{name}*)"
           for name in dict.fromkeys(settings.name for settings in NOISE[1:])]  # fmt: skip
    away = abs(large.noise_scale - p["noise scale"]) / large.noise_scale_error
    return (
        f"**The noise scale of nanoGPT's training agrees with the published one, its two parts do not.** At steps "
        f"{p['step'] - AVERAGED + 1} to {p['step']} it is {plus_minus(large.noise_scale, large.noise_scale_error)} "
        f"windows, for {p['noise scale']:g} published ({away:.1f} standard errors away). |G|^2 is "
        f"{plus_minus(large.mean_square, large.mean_square_error)} for {p['mean square']}, tr Sigma "
        f"{plus_minus(large.sample_trace, large.sample_trace_error)} for {p['trace']}: smaller by factors of "
        f"{p['mean square'] / large.mean_square:.1f} and {p['trace'] / large.sample_trace:.1f}, nearly the same, which "
        f"a ratio does not show. nanoGPT's settings for a CPU give {' and '.join(cpu)}. The unit that fits is the "
        f"window: in characters the published 22 would be {p['noise scale'] / NOISE[0].context:.2g} of a window."
    )


def limits(results: Results) -> str:
    """What it cannot say."""
    return "".join(f"- {line}\n" for line in _limits(results))


def _limits(results: Results) -> Iterator[str]:
    small, large = SIZES[SMALL], SIZES[LARGE]
    reached = results.noise[results.noise.configuration == NOISE[0].name].steps.max()
    yield (
        f"T = {small.iterations:,} is a fifth of the paper's and K a third of that, so that the smallest d_KS that can "
        "be told from zero is larger here. "
        f"With T = {large.iterations} the large network's spectra and tails across iterations say little, and its "
        "power-law rates across iterations nothing."
    )
    yield (
        f"Training is short: {EPOCHS} epochs of the small network, and {reached:.0f} steps of nanoGPT's 5,000, a "
        "single seed. Nothing here is about a network that has converged."
    )
    yield "Two or three seeds show a spread, not a distribution; the large network has one."
    yield (
        "The published noise scale is known here as three numbers, without the code that made them: neither unit, nor "
        "averaging, nor whether dropout was on. 20.5 / 0.93 = 22 says that trace and noise scale are in the same unit. "
        "Why both parts differ by a factor of about three, and their ratio does not, is open."
    )
    yield "The noise scale of MNIST that is published beside it, about 900, was not measured."
    yield (
        "A window's predictions share its characters. Verdicts across iterations are on gradients of whole windows and "
        "say nothing of single predictions, except where the loss is of the last one alone."
    )
