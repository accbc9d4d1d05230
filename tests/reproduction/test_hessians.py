"""Hessian spectra of a later paper: as printed, and beside what was measured, whatever there is."""

from pathlib import Path

from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.hessians import experiment_of, hessian_section, printed_hessians
from gradlaw.reproduction.xie2023.networks import LENET, LENET_TRAINED
from gradlaw.reproduction.xie2023.paper import PAPER


def _evidence(folder: Path, fits: dict[Experiment, list[dict[str, object] | None]]) -> Evidence:
    store, resolver = Store(folder), Resolver(PAPER.profiles["tiny"], TrainedModels(folder, ()))
    measurements = {(e, seed): resolver.resolve(e, seed) for e in fits for seed in range(2)}
    for experiment, found in fits.items():
        for seed, fit in enumerate(found):
            store.save(measurements[experiment, seed], Result({"fit": fit, "samples": 2000}, {}))
    return Evidence(store, range(2), measurements, {})


def _fit(d_ks: float, s: float, passed: bool, calibrated: bool) -> dict[str, object]:
    return {"d_ks": d_ks, "s": s, "is_power_law": passed, "is_power_law_calibrated": calibrated}


def test_the_published_numbers_are_read_as_printed() -> None:
    rows = {(r["dataset"], r["training"]): (r["d_ks"], r["s"]) for r in printed_hessians() if r["model"] == "LeNet"}
    assert rows == {
        ("MNIST", "Trained"): ("0.0090", "1.009"), ("MNIST", "Random"): ("0.0796", ""),
        ("CIFAR-10", "SGD"): ("0.0279", "1.033"), ("CIFAR-10", "Adam"): ("0.0269", "1.241"),
        ("CIFAR-10", "Random"): ("0.0663", ""),
    }  # fmt: skip
    sgd = next(experiment_of(row) for row in printed_hessians() if row["training"] == "SGD")
    assert sgd is not None
    assert sgd.network.training is not None
    assert sgd.network.training.optimiser == "momentum"


def test_measured_spectra_stand_beside(tmp_path: Path) -> None:
    by_network = {e.network: e for row in printed_hessians() if (e := experiment_of(row))}
    fits = {
        by_network[LENET_TRAINED]: [_fit(0.03, 0.9, True, True), _fit(0.05, 1.1, False, False)],
        by_network[LENET]: [_fit(0.1, 0.8, False, False)],
    }
    text = hessian_section(_evidence(tmp_path, fits))
    assert (
        "| LeNet, MNIST, Trained | 0.0090 | 0.04 ± 0.0141 | 1.009 | 1 ± 0.141 | yes | yes 1/2 | yes 1/2 | 2,000 | 2 |"
        in text
    )
    assert "| LeNet, MNIST, Random | 0.0796 | 0.1 | - | 0.8 | no | no | no | 2,000 | 1 |" in text
    assert "| GPT-2 small, text, Random | 0.1168 | - | - | - | no | - | - | - | not measurable here |" in text
    assert "| LeNet, CIFAR-10, Adam | 0.0269 | - | 1.241 | - | yes | - | - | - | not run |" in text
    assert "of 498 GB in single precision" in text
    assert "Of 3 measured spectra 2 have the published verdict" in text
    assert "Trained, s is 0.9, 1.1 where 1.009 was printed" in text


def test_a_spectrum_without_a_fit_is_refused_and_none_is_not_run(tmp_path: Path) -> None:
    random = next(e for row in printed_hessians() if (e := experiment_of(row)) and e.network == LENET)
    text = hessian_section(_evidence(tmp_path / "a", {random: [None]}))
    assert "| LeNet, MNIST, Random | 0.0796 | - | - | - | no | refused | refused | 2,000 | 1 |" in text
    assert "Of 1 measured spectra 1 have the published verdict" in text
    assert "None of them was measured." in hessian_section(_evidence(tmp_path / "b", {}))
