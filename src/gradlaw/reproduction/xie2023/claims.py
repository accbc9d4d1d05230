"""The paper's claims, each with the rule that decides it, written down before it is measured."""

from collections.abc import Mapping
from dataclasses import replace

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.claim import Claim
from gradlaw.reproduction.experiment import ANGLES, HESSIAN, Experiment, NetworkSpec, history
from gradlaw.reproduction.xie2023 import rules
from gradlaw.reproduction.xie2023.figures import ANGLED, C_MINUS_1, DEPTHS, WIDTHS
from gradlaw.reproduction.xie2023.networks import (
    AVILA,
    AVILA_RELU_BN,
    FCN,
    FCN_BATCH,
    FCN_NO_BN,
    FCN_RELU_BN,
    LENET,
    LENET_CIFAR,
    LENET_CIFAR_100_LOGITS,
    LENET_CIFAR_100_LOGITS_TRAINED,
    LENET_CIFAR_TRAINED,
    LENET_TRAINED,
    LNN,
    LNN_BN,
    LNN_RELU,
    noisy,
    trained,
)
from gradlaw.reproduction.xie2023.tables import BATCH_SIZES, OPTIMISERS
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT


def _both(networks: Mapping[str, NetworkSpec], batch_size: int) -> dict[str, Experiment]:
    """Each network at random and trained."""
    change = {"random": lambda network: network, "trained": trained}
    return {f"{name}, {how}": history(made(network), batch_size) for name, network in networks.items()
            for how, made in change.items()}  # fmt: skip


FCNS = {"FCN (BatchNorm, ReLU)": FCN, "FCN (ReLU, BatchNorm)": FCN_RELU_BN}
LENETS = {"LeNet, MNIST": LENET, "LeNet, CIFAR-10": LENET_CIFAR}
_BY_BATCH = {f"B = {b}": history(LENET, b) for b in BATCH_SIZES}
_SPECTRA = _both(LENETS, 1) | _both(FCNS, FCN_BATCH)
_SIZES = {how: {f"{how}, B = {b}": b for b in (1, 10, 100, 1000)} for how in ("random", "trained")}
_OPTIMISED = {
    f"{name}, {reading}": experiment
    for name, (transforms, optimiser, decay) in OPTIMISERS.items()
    for reading, experiment in (
        ("updates", history(LENET_CIFAR, 100, *transforms)),
        ("trained so", history(trained(LENET_CIFAR, optimiser, decay), 100)),
        ("trained so, MNIST", history(trained(LENET, optimiser, decay), 100)),
    )
}
_ADAM = {label: experiment for label, experiment in _OPTIMISED.items() if label.startswith("Adam")}
_WIDTHS = {f"{name}, width {w}": history(replace(network, width=w), FCN_BATCH) for name, network in FCNS.items()
           for w in WIDTHS}  # fmt: skip
_DEPTHS = {f"{name}, {d} hidden": history(replace(network, depth=d), FCN_BATCH) for name, network in FCNS.items()
           for d in DEPTHS}  # fmt: skip
_NOISY = {
    "clean labels": history(LENET_TRAINED, 1),
    "40% noise": history(noisy(LENET, "symmetric=0.4"), 1),
    "80% noise": history(noisy(LENET, "symmetric=0.8"), 1),
    "random labels": history(noisy(LENET, "random"), 1),
}
_CURVED: dict[str, tuple[NetworkSpec, int, int | None]] = {
    "LeNet, random": (LENET, 1, None),
    "LeNet, trained": (LENET_TRAINED, 1, None),
    "FCN, random": (FCN, FCN_BATCH, FCN_BATCH),
    "FCN, trained": (trained(FCN), FCN_BATCH, FCN_BATCH),
}
_COVARIANCES = {label: history(network, batch) for label, (network, batch, _) in _CURVED.items()}
_HESSIANS = {f"{label} Hessian": Experiment(HESSIAN, network, b) for label, (network, _, b) in _CURVED.items()}
_LOGITS = {f"{logits} logits, {how}": experiment
           for logits, network in ((10, LENET_CIFAR), (100, LENET_CIFAR_100_LOGITS))
           for how, experiment in (("random", history(network, 1)),
                                   ("trained", history(trained(network), 1)))}  # fmt: skip
_LOGITS["100 logits, trained at a rate of 0.01"] = history(LENET_CIFAR_100_LOGITS_TRAINED, 1)
_BATCH_NORM = _both(FCNS | {"FCN without BatchNorm": FCN_NO_BN}, FCN_BATCH)

CLAIMS: tuple[Claim, ...] = (
    Claim("dimension-wise power law", "Gradients across parameters usually have power-law tails.",
          "dimension-wise power-law rate of LeNet at B = 100 of at least 50%",
          _both(LENETS, 100), rules.power_law_rate("dimension", at_least=0.5), ("table1", "fig1")),
    Claim("iteration-wise no power law", "Gradients across iterations, the noise of minibatches, usually have none.",
          "iteration-wise power-law rate of LeNet at B = 100 of at most 5%",
          _both(LENETS, 100), rules.power_law_rate("iteration", at_most=0.05), ("table1", "fig1")),
    Claim("Gaussian noise", "For B of 30 and more, the gradients of most parameters across iterations look Gaussian.",
          "iteration-wise Gaussian rate above 50% for B = 30, 100, 300, 1000 (a true Gaussian has 94.6%)",
          {label: experiment for label, experiment in _BY_BATCH.items() if (experiment.batch_size or 0) >= 30},
          rules.gaussian_rate("iteration", above=0.5), ("table4", "fig2")),
    Claim("Gaussianity grows with B", "Larger minibatches make the noise more Gaussian.",
          "iteration-wise Gaussian rate does not fall from one batch size to the next, B = 1 to 1000",
          _BY_BATCH, rules.gaussian_rate_grows("iteration"), ("table4", "fig2")),
    Claim("power-law covariance", "Covariance spectra are power laws, for random and for trained networks.",
          "verdict on the K largest eigenvalues, LeNet at B = 1, FCN at B = 10 in both orders of its steps",
          _SPECTRA, rules.power_law_spectrum(COVARIANCE), ("table2", "fig4")),
    Claim("second moment like covariance", "Second moment and covariance have almost the same spectrum.",
          "exponents within 5% and the same verdict", _SPECTRA, rules.similar_spectra(0.05),
          ("table6", "table7", "fig5")),
    Claim("covariance as 1/B", "The leading eigenvalues of the covariance fall as 1/B.",
          "median over the ten leading eigenvalues of B lambda(B) / lambda(1) between 1/2 and 2, B = 10, 100, 1000",
          {label: history(network, b) for network, sizes in zip((LENET, LENET_TRAINED), _SIZES.values(), strict=True)
           for label, b in sizes.items()},
          rules.every(*(rules.inverse_batch_size(sizes, 2.0) for sizes in _SIZES.values())), ("fig6",)),
    Claim("covariance is not the Hessian", "Leading eigenvalues of H and B C differ by more than ten times in places.",
          "largest ratio lambda_k(H) / (B lambda_k(C)), or its inverse, over the computed ranks above 10",
          _COVARIANCES | _HESSIANS,
          rules.hessian_differs({label: batch for label, (_, batch, _) in _CURVED.items()}, 10.0), ("fig5", "fig6")),
    Claim("power-law Hessian after training only", "Hessian spectra are power laws after training and not before.",
          "verdict on the largest eigenvalues of the Hessian; eigenvalues that are not positive count as none",
          _HESSIANS, rules.power_law_hessian(["LeNet, random Hessian", "FCN, random Hessian"]), ("fig5",)),
    Claim("label noise matters little", "Networks that learn noisy or random labels keep the power-law covariance.",
          "a power law at each noise, and an exponent within 20% of that with clean labels", _NOISY,
          rules.every(rules.power_law_spectrum(COVARIANCE, without="clean labels"),
                      rules.same_exponent(COVARIANCE, "clean labels", 0.2)),
          ("table7", "fig7")),
    Claim("width matters", "A width of at least 70 is needed.",
          "covariance of FCN at random: a power law at width 70 and 100, none at 10 and 30", _WIDTHS,
          rules.power_law_spectrum(COVARIANCE, [label for label in _WIDTHS if label.endswith((" 10", " 30"))]),
          ("table8", "fig8")),
    Claim("depth does not matter", "The power law needs no depth: a single layer is enough.",
          "covariance of FCN at random: a power law with 0 to 4 hidden layers",
          _DEPTHS, rules.power_law_spectrum(COVARIANCE), ("table8", "fig8")),
    Claim("linear networks need BatchNorm or ReLU", "Linear networks have no power law; BatchNorm or ReLU brings it.",
          "second moment of trained networks: none for the linear one, a power law with BatchNorm and with ReLU",
          {name: history(trained(network), FCN_BATCH)
           for name, network in (("linear", LNN), ("BatchNorm", LNN_BN), ("ReLU", LNN_RELU))},
          rules.power_law_spectrum(SECOND_MOMENT, ["linear"]), ("table9", "fig9")),
    Claim("c - 1 outliers", "As many leading eigenvalues stand off the line as there are classes, less one.",
          "outliers of the covariance counted by the largest drop: 9",
          {label: experiment for label, experiment in _SPECTRA.items() if label.endswith("trained")},
          rules.outlier_count(C_MINUS_1), ("fig11",)),
    Claim("outliers by classes, not logits", "A hundred logits for ten classes leave the number of outliers as it is.",
          "equally many outliers with 10 and with 100 logits; trained also at a tenth of the recipe's rate for 20 "
          "epochs, because the recipe learns nothing", _LOGITS,
          rules.same_outlier_count([
              *((f"10 logits, {how}", f"100 logits, {how}") for how in ("random", "trained")),
              ("10 logits, trained", "100 logits, trained at a rate of 0.01"),
          ]),
          ("fig12",)),
    Claim("BatchNorm tames outliers", "With BatchNorm the outliers stand out less.",
          "mean logarithm of the first nine eigenvalues over the line of those below is smaller than without",
          _BATCH_NORM,
          rules.less_marked_outliers([(f"{name}, {how}", f"FCN without BatchNorm, {how}") for name in FCNS
                                      for how in ("random", "trained")], C_MINUS_1), ("fig10",)),
    Claim("momentum and weight decay keep it", "Weight decay and momentum leave the power-law covariance as it is.",
          "verdict on the covariance, in both readings of Table 10",
          {label: experiment for label, experiment in _OPTIMISED.items()
           if label.startswith(("Weight Decay", "Momentum"))},
          rules.power_law_spectrum(COVARIANCE), ("table10", "fig13")),
    Claim("Adam breaks it", "Adam destroys the power-law covariance.", "no power law, in both readings of Table 10",
          _ADAM, rules.power_law_spectrum(COVARIANCE, list(_ADAM)), ("table10", "fig13")),
    Claim("clipping keeps it", "Gradient clipping leaves the power-law covariance as it is.",
          "verdict on the covariance at clipping norms 1 and 0.1",
          {"MNIST, norm 1": history(LENET_TRAINED, 1, "clip-norm=1"),
           "MNIST, norm 0.1": history(LENET_TRAINED, 1, "clip-norm=0.1"),
           "CIFAR-10, norm 0.1": history(LENET_CIFAR_TRAINED, 1, "clip-norm=0.1")},
          rules.power_law_spectrum(COVARIANCE), ("table7", "table10", "fig14")),
    Claim("not only images", "The power-law covariance is there on tabular data too.",
          "verdict on the covariance of FCN on Avila, in both orders of its steps",
          _both({"BatchNorm, ReLU": AVILA, "ReLU, BatchNorm": AVILA_RELU_BN}, FCN_BATCH),
          rules.power_law_spectrum(COVARIANCE), ("fig15",)),
    Claim("power-law eigengaps", "The eigengaps of the covariance are a power law as well.",
          "verdict on the K largest of all gaps, LeNet at B = 1 and FCN at B = 10 on MNIST",
          _both({"LeNet, MNIST": LENET}, 1) | _both(FCNS, FCN_BATCH), rules.power_law_spectrum(EIGENGAPS),
          ("table3", "fig16")),
    Claim("eigengaps decay faster", "Eigengaps decay faster than eigenvalues.",
          "exponent of the gaps above that of the eigenvalues",
          _both({"LeNet, MNIST": LENET}, 1) | _both(FCNS, FCN_BATCH), rules.gaps_decay_faster(), ("table3", "fig16")),
    Claim("Theorem 1 bounds the angles", "Eigengaps bound how far eigenvectors turn.",
          "every measured sine at or below 2 ||C - C~|| / min(gaps), between two halves of a history",
          {label: Experiment(ANGLES, network, batch) for label, (network, batch) in ANGLED.items()},
          rules.bound_holds(), ("theorem1",)),
    Claim("a robust leading subspace", "Leading eigenvectors are stable, those further down are not.",
          "median sine of the first nine below 0.5, of those after them above",
          {label: Experiment(ANGLES, network, batch) for label, (network, batch) in ANGLED.items()},
          rules.robust_top(C_MINUS_1, 0.5), ("theorem1",)),
)  # fmt: skip
