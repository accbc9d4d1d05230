"""The page: ``python -m studies.transformers.page`` writes docs/transformers.md and its figures from the results."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from gradlaw.atomic import write_whole
from gradlaw.report.formatting import yes
from gradlaw.reproduction.formats import markdown
from studies.transformers.claims import CLAIMS, TOP, Decision, decide
from studies.transformers.design import (
    ADAM,
    BATCH_ITERATIONS,
    BATCH_SIZES,
    BATCHES,
    CONTEXT,
    CURVATURE,
    EPOCHS,
    FOLDED,
    HESSIAN_SAMPLES,
    LARGE,
    LENET,
    SIZES,
    SMALL,
    SPECTRUM,
    TESTS,
    VOCABULARY,
    measurements,
)
from studies.transformers.figures import figures
from studies.transformers.formatting import passed, plus_minus, points, spread, where
from studies.transformers.nanogpt import NanoGPT
from studies.transformers.networks import KINDS
from studies.transformers.noise import AVERAGED, NOISE, PUBLISHED
from studies.transformers.tables import Results
from studies.transformers.words import found, limits, opening

PAGE, FIGURES = Path("docs/transformers.md"), Path("docs/transformers/figures")
_NOISE = ("mean_square", "sample_trace", "noise_scale")
_CAPTIONS = {
    "spectra": "Eigenvalues of the gradient covariance by rank, a line a seed.",
    "layers": "Small network: shares of the series that pass, a ring a seed; grey random, blue after 1 epoch, red "
    f"after {EPOCHS} epochs of Adam.",
    "vocabulary": "Leading eigenvalues at random, seed 0; a ring marks the rank at which the paper has the break, the "
    "vocabulary less one.",
    "curvature": "Leading eigenvalues of the Hessian H and of the gradient covariance C, their ratio, and the overlap "
    "of the spaces of the leading eigenvectors.",
    "noise": f"Noise scale along nanoGPT's training, means of {AVERAGED} steps with jackknife errors.",
}


def main() -> None:
    """The command."""
    results = Results.read()
    for name, content in figures(results).items():
        FIGURES.mkdir(parents=True, exist_ok=True)
        write_whole(FIGURES / name, content)
    write_whole(PAGE, page(results))


def page(results: Results) -> str:
    """The page as Markdown."""
    decisions = [decide(claim, results) for claim in CLAIMS]
    parts = [
        f"# A GPT under the X-ray\n\n{opening(results)}",
        f"## In short\n\n{found(results, decisions)}",
        f"## What was measured\n\n{_design(results)}",
        f"## The paper's statements\n\n{_claims(decisions)}",
        f"## Across parameters\n\n{_rates(results, 'dimension')}\n{_figure('layers')}",
        f"## Across iterations\n\n{_rates(results, 'iteration')}\n{_by_batch_size(results)}",
        f"## Spectra and eigengaps\n\n{_spectra(results)}\n{_figure('spectra')}",
        f"## Outliers and the vocabulary\n\n{_outliers(results)}\n{_figure('vocabulary')}",
        f"## Hessian and covariance\n\n{_curvature(results)}\n{_figure('curvature')}",
        f"## The noise scale, and published figures\n\n{_noise(results)}\n{_figure('noise')}",
        f"## What this cannot say\n\n{limits(results)}",
        f"## Every check\n\n{_checks(decisions)}",
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _figure(name: str) -> str:
    return f"![{_CAPTIONS[name]}](transformers/figures/{name}.png)\n\n*{_CAPTIONS[name]}*\n"


def _design(results: Results) -> str:
    there = set(results.networks.measurement)
    missing = [m.name for m in measurements() if m.name not in there]
    seconds = results.networks.seconds.sum()
    small, large = SIZES[SMALL], SIZES[LARGE]
    rows = []
    for network, optimiser, point in points(results):
        found = [(m, row) for m, row in results.networks_of(TESTS, network=network)
                 if (m.optimiser, m.point) == (optimiser, point)]  # fmt: skip
        losses = [spread([row.get(name) for _, row in found]) for name in ("mean_loss", "test_loss")]
        rows.append((network, where(network, optimiser, point), f"{int(found[0][1].dimensions):,}",
                     ", ".join(str(m.seed) for m, _ in found), *losses))  # fmt: skip
    table = markdown(("network", "theta", "n", "seeds", "loss of the gradients", "test loss"), rows)
    left = (
        f"Not reached within the time that there was: {', '.join(missing)}." if missing else "All of it was measured."
    )
    return (
        f"{len(there)} of {len(measurements())} measurements of `studies/transformers/design.py`, {seconds / 60:.0f} "
        f"minutes of one busy core in float32. {left}\n\n{table}\n"
        f"Small network: windows of {CONTEXT} characters, T = {small.iterations:,}, K = {small.k:,} across parameters "
        f"(a third of a layer's where it has fewer) and {small.spectrum_k} for spectra, eigengaps and tails across "
        f"iterations. Large network: T = {large.iterations}, K = {large.spectrum_k} there, and {large.sampled:,} "
        "seeded dimensions of each kind of layer across iterations. A minibatch is one window unless B says otherwise. "
        "Losses are in nats a character, without dropout.\n"
    )


def _claims(decisions: Sequence[Decision]) -> str:
    rows = [(d.claim.name, d.claim.sentence, d.published, d.calibrated,
             f"{sum(c.published for c in d.checks)}/{len(d.checks)}",
             f"{sum(c.calibrated for c in d.checks)}/{len(d.checks)}") for d in decisions]  # fmt: skip
    header = "claim", "the paper says", "published verdict", "calibrated verdict", "checks", "calibrated checks"
    return (
        "The rules were written before any result here was looked at (`studies/transformers/claims.py`), after a trial "
        "of the code with T = 500 on one random network; that of single predictions was added when the windows of seed "
        "0 had shown no outliers, and before it was measured. *Published* is the paper's critical distance, "
        f"*calibrated* that for a fitted exponent ([statistics](statistics.md)).\n\n{markdown(header, rows)}"
    )


def _rates(results: Results, axis: str) -> str:
    """Rates by kind of layer, over seeds."""
    rows = []
    for network, optimiser, point in points(results):
        names = [m.name for m in results.of(TESTS, network=network, optimiser=optimiser, point=point)]
        chosen = results.rates[results.rates.measurement.isin(names) & (results.rates.axis == axis)]
        for group in ("model", *KINDS):
            part = chosen[chosen.group == group]
            if len(part):
                rows.append((network, where(network, optimiser, point), group, *_rate_cells(part)))
    header = ("network", "theta", "layers", "K", "power law", "calibrated", "by chance", "s", "d_KS", "Gaussian",
              "untestable")  # fmt: skip
    lines = {
        "dimension": "Share of the iterations whose gradient, over the parameters of a kind of layer, has a power-law "
        "tail or passes for Gaussian.",
        "iteration": "Share of the parameters whose gradient, over the iterations, has a power-law tail or passes for "
        "Gaussian. A true Gaussian passes that test 94.4% of the time.",
    }
    return (
        f"{lines[axis]} Means over the seeds, with the smallest and the largest in brackets where they differ. *By "
        "chance*: the share of Gaussian series that pass the published and the calibrated verdict; a rate is struck "
        f"out where it is no finding, because that share is above 20%.\n\n{markdown(header, rows)}"
    )


def _rate_cells(rows: pd.DataFrame) -> tuple[str, ...]:
    power = []
    for suffix in ("", "_calibrated"):
        rate, silent = spread(rows[f"power_law_rate{suffix}"], percent=True), rows[f"no_verdict{suffix}"].notna()
        power.append(f"~~{rate}~~" if silent.any() else rate)
    chance = [rows[f"power_law_rate{suffix}_of_gaussian"].mean() for suffix in ("", "_calibrated")]
    return (
        f"{int(rows.k.iloc[0]):,}" if rows.k.notna().all() else "-", *power,
        " / ".join("-" if pd.isna(c) else f"{c:.0%}" for c in chance),
        spread(rows.mean_s), spread(rows.mean_d_ks), spread(rows.gaussian_rate, percent=True),
        spread(rows.degenerate, percent=True),
    )  # fmt: skip


def _by_batch_size(results: Results) -> str:
    rows = []
    for point in (0, EPOCHS):
        names = [m.name for m in results.of(BATCHES, point=point)]
        chosen = results.rates[results.rates.measurement.isin(names)]
        for batch_size in BATCH_SIZES:
            part = chosen[chosen.batch_size == batch_size]
            if len(part):
                rows.append((where(SMALL, ADAM, point), str(batch_size), str(len(part)),
                             spread(part.gaussian_rate, percent=True)))  # fmt: skip
    table = markdown(("theta", "B, in windows", "seeds", "Gaussian"), rows)
    return f"By batch size, small network, T = {BATCH_ITERATIONS}:\n\n{table}"


def _spectra(results: Results) -> str:
    rows = []
    for network, optimiser, point in points(results):
        found = [row for _, row in results.networks_of(TESTS, network=network, optimiser=optimiser, point=point)]
        rows.append((network, where(network, optimiser, point), *_spectrum_cells(pd.DataFrame(found))))
    for updates in ("momentum", ADAM):
        found = [row for _, row in results.networks_of(SPECTRUM, network=SMALL, updates=updates)]
        if found:
            rows.append((SMALL, f"random, updates of {updates}", *_spectrum_cells(pd.DataFrame(found))))
    control = [row for _, row in results.networks_of(SPECTRUM, network=LENET)]
    if control:
        rows.append(("LeNet on MNIST, a control", "random", *_spectrum_cells(pd.DataFrame(control))))
    header = ("network", "theta", "seeds", "K", "s", "d_KS", "power law", "calibrated", "gaps: s", "gaps: d_KS",
              "power law", "calibrated", "outliers")  # fmt: skip
    return (
        "The covariance of the gradients of single windows. A spectrum is not a sample: its verdict says as straight "
        f"as a power law on log-log axes, not drawn from one.\n\n{markdown(header, rows)}"
    )


def _spectrum_cells(rows: pd.DataFrame) -> tuple[str, ...]:
    cells = [str(len(rows)), str(int(rows.spectrum_k.iloc[0]))]
    for name in ("covariance", "eigengaps"):
        cells += [spread(rows[f"{name}_s"]), spread(rows[f"{name}_d_ks"])]
        cells += [passed(rows[f"{name}_power_law{suffix}"]) for suffix in ("", "_calibrated")]
    return *cells, ", ".join(f"{int(count)}" for count in rows.outliers)


def _outliers(results: Results) -> str:
    rows = []
    for single in (False, True):
        for vocabulary in (*FOLDED, VOCABULARY):
            found = [row for kind in (TESTS, SPECTRUM) for _, row in results.networks_of(
                kind, network=SMALL, vocabulary=vocabulary, point=0, updates="", single=single)]  # fmt: skip
            if not found:
                continue
            frame = pd.DataFrame(found)
            drops = [f"{int(r.largest_drop_after)} ({r.largest_drop:.1f})" for r in found]
            counts = ", ".join(str(int(r.outliers)) for r in found)
            seen = ", ".join(str(int(r.labels_seen)) for r in found) if single else "-"
            rows.append(("1" if single else str(CONTEXT), str(vocabulary), str(vocabulary - 1), seen, counts,
                         ", ".join(drops), spread(frame.drop_at_vocabulary)))  # fmt: skip
    critical = results.networks.critical_drop[results.networks.spectrum_k == SIZES[SMALL].spectrum_k].iloc[0]
    header = ("predictions a sample", "vocabulary", "expected", "labels seen, by seed", "outliers, by seed",
              "largest drop after rank (its size)", "drop at the expected rank")  # fmt: skip
    return (
        "Random small network; the text's rarest characters are made one, so that fewer are left. A sample is a window "
        f"with its {CONTEXT} predictions, or its last prediction alone; *labels seen*: how many different characters "
        f"these were among the {SIZES[SMALL].iterations:,} samples. A drop is that from one eigenvalue to the next "
        "in units of what a power law predicts at that rank; outliers are counted if the largest is above "
        f"{critical:.1f}.\n\n{markdown(header, rows)}"
    )


def _curvature(results: Results) -> str:
    rows = []
    for measurement in results.of(CURVATURE):
        table = results.curvature[results.curvature.measurement == measurement.name].sort_values("k")
        top = table[:TOP]
        if len(top) < TOP:
            continue
        ratios, residual = top.ratio, (top.residual / top.hessian.iloc[0]).max()
        first, last = top.iloc[0], top.iloc[-1]
        cells = (f"{first.hessian:.3g}", f"{last.hessian:.3g}", f"{first.covariance:.3g}", f"{last.covariance:.3g}",
                 f"{ratios.min():.3g} to {ratios.max():.3g}", f"{first.overlap:.2g}", f"{last.overlap:.2g}",
                 f"{last.overlap_random:.1g}", f"{residual:.0e}")  # fmt: skip
        rows.append((where(SMALL, ADAM, measurement.point), str(measurement.seed), *cells))
    header = ("theta", "seed", "H: first", f"H: {TOP}th", "C: first", f"C: {TOP}th", f"ratio, {TOP} leading",
              "overlap, 1 vector", f"overlap, {TOP} vectors", "by chance", "largest residual of H")  # fmt: skip
    return (
        f"Small network. The Hessian H is that of the mean loss of {HESSIAN_SAMPLES} windows, exact products; C the "
        f"covariance of gradients of single windows (B = 1). Were C = H / B, all ratios would be 1.\n\n"
        f"{markdown(header, rows)}"
    )


def _noise(results: Results) -> str:
    rows = []
    for settings in NOISE:
        part = results.noise[(results.noise.configuration == settings.name) & (results.noise.seed == settings.seed)]
        for _, row in part[part.step.isin((AVERAGED, 60, 120, 180, 240)) | (part.step == part.step.max())].iterrows():
            rows.append((settings.name, str(settings.seed), str(int(row.step)), f"{row.loss:.2f}",
                         *(plus_minus(row[name], row[f"{name}_error"]) for name in _NOISE)))  # fmt: skip
    p = PUBLISHED
    rows.append(
        ("published", "-", str(p["step"]), "-", f"{p['mean square']}", f"{p['trace']}", f"{p['noise scale']:g}")
    )
    large, small = NOISE[0], NOISE[1]
    header = "run", "seed", "up to step", "loss", "|G|^2", "tr Sigma", "noise scale"
    return (
        f"nanoGPT's own configurations, trained here as they are: *{large.name}* for characters of Shakespeare "
        f"({_sizes(large)}, dropout {large.dropout}, AdamW with warm-up of {large.warm_up}, matrix products in "
        f"bfloat16), and *{small.name}* as its README has it for a CPU ({_sizes(small)}, no dropout), also "
        f"with {NOISE[-1].batch_size} a minibatch as the examples of nanoGNS have it. A minibatch goes "
        f"through the model in pieces of {large.piece} and of {small.piece}; both parts of the noise scale are "
        f"averaged over {AVERAGED} steps before the ratio is taken, and are in units of one window: tr Sigma of one "
        "window's gradient, the noise scale in windows.\n\n"
        f"{markdown(header, rows)}"
    )


def _sizes(settings: NanoGPT) -> str:
    return (
        f"{settings.depth} layers, {settings.heads} heads, {settings.width} wide, windows of {settings.context}, "
        f"{settings.batch_size} a minibatch"
    )


def _checks(decisions: Iterable[Decision]) -> str:
    parts = []
    for decision in decisions:
        claim = decision.claim
        checks = "; ".join(f"{c.what}: {yes(c.published)} / {yes(c.calibrated)}" for c in decision.checks)
        remarks = "".join(f"- no verdict: {remark}\n" for remark in decision.remarks)
        parts.append(
            f"### {claim.name}: {decision.published}, calibrated {decision.calibrated}\n\n- rule: {claim.statistic}\n"
            f"- checks (published / calibrated): {checks or 'nothing measured'}\n{remarks}"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
