"""A second set of published values: the Hessian spectra of a later paper, beside those that are measured here.

Tang, Gu, Cai, Sun, Li, Zhou and Xie: "Investigating the Overlooked Hessian Structure: From CNNs to LLMs", ICML 2025.
Under the name SGD it trains with momentum 0.9, which is how its rows are read here. Its fits are taken to be of the
1,000 largest eigenvalues, as in this paper.
"""

import csv
from importlib.resources import files
from typing import Any

from gradlaw.report.formatting import number, yes
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import HESSIAN, Experiment, NetworkSpec
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH, spread, verdict
from gradlaw.reproduction.paper import Beside
from gradlaw.reproduction.xie2023.networks import LENET, LENET_CIFAR, LENET_TRAINED, trained
from gradlaw.stats.calibration import critical_distance

_TITLE = "Investigating the Overlooked Hessian Structure: From CNNs to LLMs"
_NETWORKS: dict[tuple[str, str, str], NetworkSpec] = {
    ("MNIST", "LeNet", "Trained"): LENET_TRAINED,
    ("MNIST", "LeNet", "Random"): LENET,
    ("CIFAR-10", "LeNet", "SGD"): trained(LENET_CIFAR, "momentum"),
    ("CIFAR-10", "LeNet", "Adam"): trained(LENET_CIFAR, "adam"),
    ("CIFAR-10", "LeNet", "Random"): LENET_CIFAR,
}
_GPT2_PARAMETERS = 124_439_808
_NOT_HERE = (
    f"GPT-2 small is not measured here: its {_GPT2_PARAMETERS:,} parameters make a basis of as many eigenvectors as "
    f"are fitted, 1,000, of {4 * 1000 * _GPT2_PARAMETERS / 1e9:.0f} GB in single precision, and the distance of a fit "
    "is between single eigenvalues, which stochastic Lanczos quadrature does not resolve."
)
_INTRODUCTION = (
    f'A later paper that shares authors with this one ("{_TITLE}", Tang, Gu, Cai, Sun, Li, Zhou and Xie, ICML '
    "2025) prints fits of Hessian spectra, which are taken to be of the 1,000 largest eigenvalues. Its rows are no "
    "part of the counts above: they stand beside the Hessians that are measured here, of the mean loss over fewer "
    "samples."
)


def printed_hessians() -> tuple[dict[str, str], ...]:
    """The published rows by column, with the digits that were printed; an empty cell was not."""
    resource = files("gradlaw.reproduction.xie2023").joinpath("published", "hessians.csv")
    return tuple(csv.DictReader(resource.read_text(encoding="utf-8").splitlines()))


def experiment_of(row: dict[str, str]) -> Experiment | None:
    """What a published row is compared with; None for networks that are not measured here."""
    network = _NETWORKS.get((row["dataset"], row["model"], row["training"]))
    return None if network is None else Experiment(HESSIAN, network, None)


HESSIANS = Beside(
    "hessians",
    "Hessian spectra beside those of a later paper",
    tuple(Experiment(HESSIAN, network, None) for network in _NETWORKS.values()),
)


def hessian_section(evidence: Evidence) -> str:
    """The published spectra beside the measured ones, in Markdown."""
    rows = [_row(row, evidence) for row in printed_hessians()]
    header = (
        "published",
        "d_KS pub.",
        "d_KS",
        "s pub.",
        "s",
        "verdict pub.",
        "verdict",
        "calibrated",
        "samples",
        "seeds",
    )
    return f"{_INTRODUCTION}\n\n{markdown(header, rows)}\n{_reading(evidence)}\n\n{_NOT_HERE}\n"


def _row(row: dict[str, str], evidence: Evidence) -> tuple[str, ...]:
    records = _records(row, evidence)
    fits = [record["fit"] for record in records]

    def of(name: str) -> str:
        return spread([fit and fit[name] for fit in fits])

    passed = float(row["d_ks"]) < critical_distance(int(row["k"]))
    return (
        f"{row['model']}, {row['dataset']}, {row['training']}",
        row["d_ks"],
        of("d_ks"),
        row["s"] or DASH,
        of("s"),
        yes(passed),
        verdict([fit and fit["is_power_law"] for fit in fits]),
        verdict([fit and fit["is_power_law_calibrated"] for fit in fits]),
        " / ".join(f"{n:,}" for n in dict.fromkeys(record["samples"] for record in records)) or DASH,
        str(len(records)) if records else "not run" if experiment_of(row) else "not measurable here",
    )


def _records(row: dict[str, str], evidence: Evidence) -> list[dict[str, Any]]:
    experiment = experiment_of(row)
    return [] if experiment is None else [result.record for result in evidence.results(experiment)]


def _reading(evidence: Evidence) -> str:
    """What the rows that were measured show, in words."""
    compared = [(row, records) for row in printed_hessians() if (records := _records(row, evidence))]
    if not compared:
        return "None of them was measured."
    same = sum(
        (float(row["d_ks"]) < critical_distance(int(row["k"]))) == bool(record["fit"] and record["fit"]["is_power_law"])
        for row, records in compared for record in records
    )  # fmt: skip
    trained_s = [record["fit"]["s"] for row, records in compared for record in records if row["s"] and record["fit"]]
    words = (
        f"Of {sum(len(records) for _, records in compared)} measured spectra {same} have the published verdict at the "
        "published critical distance."
    )
    if trained_s:
        published = ", ".join(row["s"] for row, _ in compared if row["s"])
        words += f" Trained, s is {', '.join(map(number, trained_s))} where {published} was printed."
    return words + (
        " A distance of 0.0090 over 1,000 eigenvalues is that of a curve which is straighter than most samples of a "
        "power law (median 0.022), as it is for eigenvalues, which repel one another."
    )
