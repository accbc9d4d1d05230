"""Figures 1 to 16 and the check of Theorem 1 as data: panels and what each of their series shows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gradlaw.reproduction.experiment import ANGLES, CLASSES, HESSIAN, Experiment, NetworkSpec, history
from gradlaw.reproduction.paper import (
    BOUND,
    RANKED,
    RATES,
    FigureSpec,
    Panel,
    Series,
)
from gradlaw.reproduction.series import DIMENSION, GAPS_BY_EIGENVALUE, GAPS_SORTED, HESSIAN_VALUES, ITERATION
from gradlaw.reproduction.xie2023.networks import (
    AVILA,
    AVILA_RELU_BN,
    FCN,
    FCN_BATCH,
    FCN_NO_BN,
    FCN_RELU_BN,
    FCN_RELU_BN_TRAINED,
    FCN_TRAINED,
    LENET,
    LENET_CIFAR,
    LENET_CIFAR_100_LOGITS,
    LENET_CIFAR_100_LOGITS_TRAINED,
    LENET_CIFAR_TRAINED,
    LENET_TRAINED,
    LNN,
    LNN_BN,
    LNN_RELU,
    RESNET_CIFAR,
    RESNET_CIFAR100,
    noisy,
    trained,
)
from gradlaw.reproduction.xie2023.tables import BATCH_SIZES, OPTIMISERS
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT


def _directions(network: NetworkSpec, batch_size: int) -> tuple[Series, ...]:
    experiment = history(network, batch_size)
    return Series(experiment, DIMENSION, DIMENSION), Series(experiment, ITERATION, ITERATION)


def _spectra(quantity: str, experiments: Mapping[str, Experiment]) -> tuple[Series, ...]:
    return tuple(Series(experiment, quantity, label) for label, experiment in experiments.items())


def _three_spectra(network: NetworkSpec, batch_size: int, loss_batch: int | None) -> tuple[Series, ...]:
    experiment = history(network, batch_size)
    of_hessian = Series(Experiment(HESSIAN, network, loss_batch), HESSIAN_VALUES, HESSIAN_VALUES)
    return Series(experiment, SECOND_MOMENT, SECOND_MOMENT), Series(experiment, COVARIANCE, COVARIANCE), of_hessian


def _batch_sizes(network: NetworkSpec) -> tuple[Series, ...]:
    covariances = [Series(history(network, b), COVARIANCE, f"covariance, B = {b:,}") for b in (1, 10, 100, 1000)]
    of_hessian = Experiment(HESSIAN, network, None)
    return *covariances, *(
        Series(of_hessian, HESSIAN_VALUES, f"Hessian / {b:,}", b, line=True) for b in (1, 10, 100, 1000)
    )


def _random_and_trained(network: NetworkSpec, batch_size: int) -> dict[str, Experiment]:
    return {"random": history(network, batch_size), "trained": history(trained(network), batch_size)}


def _panels(panels: Iterable[tuple[str, tuple[Series, ...]]], outliers: int | None = None) -> tuple[Panel, ...]:
    return tuple(Panel(title, series, outliers) for title, series in panels)


C_MINUS_1 = CLASSES["mnist"] - 1
DEPTHS, WIDTHS = (0, 1, 2, 3, 4), (10, 30, 70, 100)
_WITH_AND_WITHOUT = {"BatchNorm, ReLU": FCN, "ReLU, BatchNorm": FCN_RELU_BN, "no BatchNorm": FCN_NO_BN}
BOTH_ORDERS = "both orders of BatchNorm and ReLU are drawn, for the paper does not state it"
ANGLED = {"LeNet, random": (LENET, 1), "LeNet, trained": (LENET_TRAINED, 1), "FCN, random": (FCN, FCN_BATCH),
          "FCN, trained": (FCN_TRAINED, FCN_BATCH)}  # fmt: skip

# What the paper says that its figures show, from captions and text, in our words.
_DESCRIBED = {
    "fig1": "straight lines fit gradients across parameters (one iteration), and not those across iterations (one "
            "parameter).",
    "fig2": "the Gaussian rate across iterations grows with B; from B = 30 on most parameters look Gaussian.",
    "fig3": "as in Figure 1: power-law tails across parameters, none across iterations.",
    "fig4": "power laws at random and pretrained, highly similar, but for a few leading eigenvalues that deviate "
            "slightly.",
    "fig5": "leading eigenvalues of the covariance deviate from those of the Hessian, by more than an order of "
            "magnitude in places, near minima or far from them.",
    "fig6": "a power law at every B; leading eigenvalues go approximately as 1/B, and are hardly in proportion to "
            "those of the Hessian.",
    "fig7": "labels that are noisy or random, learnt by heart, matter little to the power law.",
    "fig8": "a width of about 70 or more matters to how good the power law is, depth does not; a single layer may "
            "have it.",
    "fig9": "power laws with BatchNorm or with ReLU, none in linear networks. The text beside it says that the "
            "simplest linear network of two layers still has one, and marked outliers.",
    "fig10": "BatchNorm can make the outliers less marked.",
    "fig11": "usually c - 1 outliers, much less marked for FCN than for LeNet.",
    "fig12": "outliers depend on the number of classes: a hundred logits leave as many.",
    "fig13": "momentum and weight decay do not change the power law much, Adam does.",
    "fig14": "the power law holds with gradient clipping.",
    "fig15": "the power law is there on natural data that are no images.",
    "fig16": "eigengaps are approximately a power law too, in the order of the eigenvalues (left) and in their own "
             "(right).",
    "theorem1": "states the bound, and shows no figure of it.",
}  # fmt: skip

FIGURES: dict[str, FigureSpec] = {
    figure.name: replace(figure, described=_DESCRIBED[figure.name])
    for figure in (
        FigureSpec("fig1", "Magnitude of gradients by rank, LeNet at random", RANKED, _panels((
            ("MNIST", _directions(LENET, 100)), ("CIFAR-10", _directions(LENET_CIFAR, 100)),
        ))),
        FigureSpec("fig2", "Power-law and Gaussian rates by batch size, LeNet on MNIST", RATES, _panels(
            (axis, tuple(Series(history(LENET, b), axis, f"B = {b}") for b in BATCH_SIZES))
            for axis in (ITERATION, DIMENSION)
        ), published=4),
        FigureSpec("fig3", "Magnitude of gradients by rank, FCN and ResNet18 at random", RANKED, _panels((
            ("FCN, MNIST", _directions(FCN, FCN_BATCH)),
            ("FCN, CIFAR-10", _directions(replace(FCN, data="cifar10"), FCN_BATCH)),
            ("ResNet18, CIFAR-10", _directions(RESNET_CIFAR, 100)),
            ("ResNet18, CIFAR-100", _directions(RESNET_CIFAR100, 100)),
        ))),
        FigureSpec("fig4", "Covariance spectra, random and trained", RANKED, _panels((
            ("LeNet, MNIST", _spectra(COVARIANCE, _random_and_trained(LENET, 1))),
            ("LeNet, CIFAR-10", _spectra(COVARIANCE, _random_and_trained(LENET_CIFAR, 1))),
            ("FCN (BatchNorm, ReLU), MNIST", _spectra(COVARIANCE, _random_and_trained(FCN, FCN_BATCH))),
            ("FCN (ReLU, BatchNorm), MNIST", _spectra(COVARIANCE, _random_and_trained(FCN_RELU_BN, FCN_BATCH))),
        )), BOTH_ORDERS),
        FigureSpec("fig5", "Second moment, covariance and Hessian, MNIST", RANKED, _panels((
            ("LeNet, random", _three_spectra(LENET, 1, None)),
            ("LeNet, trained", _three_spectra(LENET_TRAINED, 1, None)),
            ("FCN, random", _three_spectra(FCN, FCN_BATCH, FCN_BATCH)),
            ("FCN, trained", _three_spectra(FCN_TRAINED, FCN_BATCH, FCN_BATCH)),
        )), "the FCN has BatchNorm: its Hessian is that of the mean over fixed minibatches of 10"),
        FigureSpec("fig6", "Covariance by batch size, beside the Hessian over B, LeNet on MNIST", RANKED, _panels((
            ("random", _batch_sizes(LENET)), ("trained", _batch_sizes(LENET_TRAINED)),
        ))),
        FigureSpec("fig7", "Covariance with clean, noisy and random labels, LeNet on MNIST", RANKED, _panels((
            ("LeNet, trained", _spectra(COVARIANCE, {
                "clean labels": history(LENET_TRAINED, 1), "40% noise": history(noisy(LENET, "symmetric=0.4"), 1),
                "80% noise": history(noisy(LENET, "symmetric=0.8"), 1),
                "random labels": history(noisy(LENET, "random"), 1),
            })),
        ))),
        FigureSpec("fig8", "Covariance by depth and width, FCN on MNIST at random", RANKED, _panels((
            ("depth", _spectra(COVARIANCE, {
                f"{d} hidden": history(replace(FCN_RELU_BN, depth=d), FCN_BATCH) for d in DEPTHS})),
            ("width", _spectra(COVARIANCE, {
                f"width {w}": history(replace(FCN_RELU_BN, width=w), FCN_BATCH) for w in WIDTHS})),
            ("depth, BatchNorm before ReLU", _spectra(COVARIANCE, {
                f"{d} hidden": history(replace(FCN, depth=d), FCN_BATCH) for d in DEPTHS})),
            ("width, BatchNorm before ReLU", _spectra(COVARIANCE, {
                f"width {w}": history(replace(FCN, width=w), FCN_BATCH) for w in WIDTHS})),
        )), BOTH_ORDERS),
        FigureSpec("fig9", "Second moment of linear networks, with BatchNorm, with ReLU, MNIST", RANKED, _panels((
            (title, _spectra(SECOND_MOMENT, {
                name: history(change(network), FCN_BATCH)
                for name, network in (("linear", LNN), ("BatchNorm", LNN_BN), ("ReLU", LNN_RELU))
            }))
            for title, change in (("trained", trained), ("random", lambda network: network))
        ))),
        FigureSpec("fig10", "Covariance of FCN with and without BatchNorm, MNIST", RANKED, _panels((
            (title, _spectra(COVARIANCE, {
                name: history(change(network), FCN_BATCH)
                for name, network in _WITH_AND_WITHOUT.items()
            }))
            for title, change in (("random", lambda network: network), ("trained", trained))
        ), C_MINUS_1)),
        FigureSpec("fig11", "Leading eigenvalues of LeNet and FCN, MNIST", RANKED, _panels((
            ("LeNet, trained", _spectra(COVARIANCE, {"LeNet": history(LENET_TRAINED, 1)})),
            ("FCN, trained", _spectra(COVARIANCE, {
                "BatchNorm, ReLU": history(FCN_TRAINED, FCN_BATCH),
                "ReLU, BatchNorm": history(FCN_RELU_BN_TRAINED, FCN_BATCH)})),
        ), C_MINUS_1), BOTH_ORDERS),
        FigureSpec("fig12", "Leading eigenvalues with 10 and with 100 logits, LeNet on CIFAR-10", RANKED, _panels((
            ("10 logits", _spectra(COVARIANCE, _random_and_trained(LENET_CIFAR, 1))),
            ("100 logits", _spectra(COVARIANCE, _random_and_trained(LENET_CIFAR_100_LOGITS, 1) | {
                "trained at a rate of 0.01": history(LENET_CIFAR_100_LOGITS_TRAINED, 1)})),
        ), C_MINUS_1), "the recipe learns nothing with a hundred logits; beside it a tenth of its rate for 20 epochs"),
        FigureSpec("fig13", "Covariance under weight decay, momentum and Adam, LeNet on CIFAR-10", RANKED, _panels((
            ("updates at fixed parameters", _spectra(COVARIANCE, {
                name: history(LENET_CIFAR, 100, *transforms) for name, (transforms, _, _) in OPTIMISERS.items()})),
            ("gradients after training so", _spectra(COVARIANCE, {
                name: history(trained(LENET_CIFAR, o, d), 100) for name, (_, o, d) in OPTIMISERS.items()})),
            ("gradients after training so, MNIST", _spectra(COVARIANCE, {
                name: history(trained(LENET, o, d), 100) for name, (_, o, d) in OPTIMISERS.items()})),
        )), "both readings of the paper"),
        FigureSpec("fig14", "Covariance with gradient clipping, LeNet on CIFAR-10", RANKED, _panels((
            ("LeNet, trained", _spectra(COVARIANCE, {
                "no clipping": history(LENET_CIFAR_TRAINED, 1),
                "norm 0.1": history(LENET_CIFAR_TRAINED, 1, "clip-norm=0.1")})),
        ))),
        FigureSpec("fig15", "Covariance on data that are no images: Avila, FCN", RANKED, _panels((
            ("BatchNorm, ReLU", _spectra(COVARIANCE, _random_and_trained(AVILA, FCN_BATCH))),
            ("ReLU, BatchNorm", _spectra(COVARIANCE, _random_and_trained(AVILA_RELU_BN, FCN_BATCH))),
        )), BOTH_ORDERS),
        FigureSpec("fig16", "Eigengaps of the covariance, FCN on MNIST", RANKED, _panels((
            ("by rank of the eigenvalue", _spectra(GAPS_BY_EIGENVALUE, _random_and_trained(FCN, FCN_BATCH))),
            ("by their own rank", _spectra(GAPS_SORTED, _random_and_trained(FCN, FCN_BATCH))),
            ("ReLU before BatchNorm", _spectra(GAPS_SORTED, _random_and_trained(FCN_RELU_BN, FCN_BATCH))),
        ))),
        FigureSpec("theorem1", "Theorem 1's bound beside the measured angles, MNIST", BOUND, tuple(
            Panel(title, (Series(Experiment(ANGLES, network, batch), BOUND, title),))
            for title, (network, batch) in ANGLED.items()
        ), "between the two halves of one history"),
    )
}  # fmt: skip
