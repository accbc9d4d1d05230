"""What the results along training show, in words; every number in them is taken from the table."""

import pandas as pd

from gradlaw.report.formatting import number, percent
from gradlaw.reproduction.along.rows import EPOCH, NETWORK, OPTIMISER, REASON, SEED
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance

_FCN, _LNN, _LENET, _CIFAR = "FCN, MNIST", "LNN, MNIST", "LeNet, MNIST", "LeNet, CIFAR-10"
_AT_CHANCE = 0.2  # accuracy up to which a network of ten classes is called one that has not learnt
_LARGE = 1000  # from here on numbers are written in full


def findings(rows: pd.DataFrame) -> str:
    """In Markdown, a paragraph for each statistic; ``rows`` are those of the declared study.

    Trainings that diverged or learnt nothing count at the start alone.
    """
    runs = [run for _, run in rows.groupby([NETWORK, OPTIMISER, SEED], sort=False)]
    left_out = [run for run in runs if _diverged(run) or _learnt_nothing(run)]
    apart = rows.index.isin([place for run in left_out for place in run.index])
    found = rows[rows[REASON].isna() & (~apart | (rows[EPOCH] == 0))]
    parts = (_outliers, _gaussian, _exponent, _straightness, _gaps, _dimension, _noise, _hessian)
    return "\n\n".join([*(part(found) for part in parts), *_not_learnt(left_out)])


def _diverged(run: pd.DataFrame) -> bool:
    return bool(run[REASON].notna().any())


def _learnt_nothing(run: pd.DataFrame) -> bool:
    """Whether a training is at chance where it was followed to."""
    last = _end(run)
    return bool(last[EPOCH] >= 1 and last["accuracy"] <= _AT_CHANCE)


def _end(run: pd.DataFrame) -> pd.Series:
    """The row of the last epoch."""
    return run.loc[run[EPOCH].idxmax()]


def _not_learnt(runs: list[pd.DataFrame]) -> list[str]:
    """A paragraph about trainings that are left out of those before, if there are any."""
    if not runs:
        return []
    diverged = [_named(run) for run in runs if _diverged(run)]
    stuck = [
        f"{_named(run)}, to epoch {_end(run)[EPOCH]:g}, accuracy {percent(_end(run)['accuracy'])}"
        for run in runs
        if not _diverged(run)
    ]
    parts = [f"{how}: {'; '.join(names)}" for how, names in (("Diverged", diverged), ("At chance", stuck)) if names]
    return [
        "**Not every training learns** at the recipe's learning rate, and which ones do may hang on rounding: another "
        f"machine may have others. What is said above is of the rest, and of these at the start. {'. '.join(parts)}."
    ]


def _named(run: pd.DataFrame) -> str:
    first = run.iloc[0]
    return f"{first[NETWORK]}, {first[OPTIMISER]}, seed {first[SEED]}"


def plain_number(value: float) -> str:
    """Three significant digits; large numbers in full."""
    return f"{value:,.0f}" if value >= _LARGE else number(value)


def _range(rows: pd.DataFrame, column: str, share: bool = False) -> str:
    """The smallest and the largest value."""
    write = percent if share else plain_number
    low, high = write(rows[column].min()), write(rows[column].max())
    return low if low == high else f"{low}–{high}"  # noqa: RUF001


def _at(rows: pd.DataFrame, network: str, epoch: float, optimiser: str | None = None) -> pd.DataFrame:
    wanted = (rows[NETWORK] == network) & (rows[EPOCH] == epoch)
    return rows[wanted if optimiser is None else wanted & (rows[OPTIMISER] == optimiser)]


def _last(rows: pd.DataFrame, network: str) -> float:
    """The last epoch that was measured with every optimiser whose training did not diverge."""
    trained = rows[(rows[NETWORK] == network) & (rows[EPOCH] > 0)]
    return float(trained.groupby(OPTIMISER)[EPOCH].max().min())


def _outliers(rows: pd.DataFrame) -> str:
    lenets = rows[rows[NETWORK].isin([_LENET, _CIFAR])]
    start, after = lenets[lenets[EPOCH] == 0], lenets[lenets[EPOCH] > 0]
    left = after[after["outliers"] > 0]
    return (
        f"**The outliers are gone as soon as a network learns.** Random LeNet has {_range(start, 'outliers')} on "
        f"either data set with either seed. Of {len(after)} trained points, from epoch 0.1 on, there are any at "
        f"{len(left)}, where the answer is one class whatever the image (accuracy {_range(left, 'accuracy', True)}). "
        "The FCN and the LNN never have any."
    )


def _gaussian(rows: pd.DataFrame) -> str:
    column, last = "iteration_gaussian_rate", _last(rows, _CIFAR)
    lines = "; ".join(
        f"{name}: {', '.join(_range(_at(rows, name, epoch), column, True) for epoch in (0, 0.1, 1))}"
        for name in (_FCN, _LNN, _LENET, _CIFAR)
    )
    return (
        "**Noise stops being Gaussian as the network learns.** The share of parameters whose noise at B = 10 is not "
        f"told from Gaussian, at random, at epoch 0.1 and at epoch 1: {lines}. Adam on CIFAR-10 keeps it longest "
        f"({_range(_at(rows, _CIFAR, 1, 'adam'), column, True)} at epoch 1, "
        f"{_range(_at(rows, _CIFAR, last, 'adam'), column, True)} at epoch {last:g})."
    )


def _exponent(rows: pd.DataFrame) -> str:
    later = rows[(rows[NETWORK] == _FCN) & (rows[EPOCH] > 0.1)]
    others = rows[(rows[NETWORK] == _LENET) & rows[EPOCH].between(0.1, 2) & (rows[OPTIMISER] != "adam")]
    others = others[others["accuracy"] > _AT_CHANCE]
    end, cifar = _last(rows, _LENET), _last(rows, _CIFAR)
    return (
        "**The exponent moves at once, and in each network its own way.** The FCN's goes from "
        f"{_range(_at(rows, _FCN, 0), 's')} to {_range(_at(rows, _FCN, 0.1), 's')} within a tenth of an epoch and "
        f"stays within {_range(later, 's')} up to epoch {_last(rows, _FCN):g}, whichever the optimiser. LeNet's on "
        f"MNIST is {_range(_at(rows, _LENET, 0), 's')} at random; Adam takes it to "
        f"{_range(_at(rows, _LENET, 0.1, 'adam'), 's')} within a tenth of an epoch, SGD with momentum or without "
        f"leaves it within {_range(others, 's')} up to epoch 2, once it has learnt. At epoch {end:g}, with an "
        f"accuracy of {_range(_at(rows, _LENET, end), 'accuracy', True)}, it is "
        f"{_range(_at(rows, _LENET, end), 's')}. On CIFAR-10 the optimisers part: with momentum it falls from "
        f"{_range(_at(rows, _CIFAR, 0), 's')} to {_range(_at(rows, _CIFAR, cifar, 'momentum'), 's')} at epoch "
        f"{cifar:g}, with Adam it rises to {_range(_at(rows, _CIFAR, 0.1, 'adam'), 's')} and comes down to "
        f"{_range(_at(rows, _CIFAR, cifar, 'adam'), 's')}."
    )


def _straightness(rows: pd.DataFrame) -> str:
    k, last = int(rows["K"].iloc[0]), _last(rows, _FCN)
    end, cifar = _last(rows, _LENET), _last(rows, _CIFAR)
    passed, calibrated = int(rows["is_power_law"].sum()), int(rows["is_power_law_calibrated"].sum())
    return (
        "**Spectra get less straight as networks fit.** d_KS of the FCN grows from "
        f"{_range(_at(rows, _FCN, 0), 'd_ks')} at random to {_range(_at(rows, _FCN, last), 'd_ks')} at epoch {last:g}, "
        f"that of LeNet on MNIST from {_range(_at(rows, _LENET, 0), 'd_ks')} to "
        f"{_range(_at(rows, _LENET, end), 'd_ks')} at epoch {end:g}; on CIFAR-10, where no network comes near to "
        f"fitting, it is {_range(_at(rows, _CIFAR, 0), 'd_ks')} at random and "
        f"{_range(_at(rows, _CIFAR, cifar), 'd_ks')} at epoch {cifar:g}, the largest with Adam, "
        "which learns most. Verdicts hardly see it: of "
        f"{len(rows)} spectra {passed} pass the published critical distance at K = {k} "
        f"({number(critical_distance(k))}), {calibrated} the calibrated one "
        f"({number(calibrated_critical_distance(k))}). At K = 1,000, where distances are held "
        "against a third of that, random and trained networks part ([findings.md](findings.md))."
    )


def _gaps(rows: pd.DataFrame) -> str:
    difference = (rows["gap_s"] - rows["s"]).dropna()
    return (
        "**Eigengaps keep their distance.** Their exponent is larger than that of the eigenvalues at every point, by "
        f"{number(difference.mean())} in the mean ({number(difference.min())} to {number(difference.max())})."
    )


def _dimension(rows: pd.DataFrame) -> str:
    column = "dimension_power_law_rate"
    return (
        "**Dimension-wise tails have no direction in common.** The power-law rate is "
        f"{_range(rows[rows[EPOCH] == 0], column, True)} at random and {_range(rows[rows[EPOCH] > 0], column, True)} "
        f"afterwards. LeNet on MNIST with SGD goes up ({_range(_at(rows, _LENET, 0), column, True)} at random, "
        f"{_range(_at(rows, _LENET, 1, 'sgd'), column, True)} at epoch 1); with Adam the LNN goes down "
        f"({_range(_at(rows, _LNN, 0), column, True)} to {_range(_at(rows, _LNN, 1, 'adam'), column, True)}), and so "
        f"does LeNet on CIFAR-10 ({_range(_at(rows, _CIFAR, 0), column, True)} to "
        f"{_range(_at(rows, _CIFAR, 1, 'adam'), column, True)})."
    )


def _noise(rows: pd.DataFrame) -> str:
    column = "noise_scale"
    error, end = (rows["noise_scale_error"] / rows[column]).median(), _last(rows, _LENET)
    lines = "; ".join(
        f"{name} {_range(_at(rows, name, 0), column)} samples at random, "
        f"{_range(_at(rows, name, _last(rows, name)), column)} at epoch {_last(rows, name):g}"
        for name in (_FCN, _LNN)
    )
    return (
        f"**The noise scale grows, after a dip in LeNet.** {lines}. LeNet on MNIST starts at "
        f"{_range(_at(rows, _LENET, 0), column)}, has {_range(_at(rows, _LENET, 0.1), column)} at epoch 0.1 and "
        f"{_range(_at(rows, _LENET, end), column)} at epoch {end:g}. The standard error of a value is {percent(error)} "
        "in the median."
    )


def _hessian(rows: pd.DataFrame) -> str:
    column = "hessian_1"
    found = rows[rows[column].notna()]
    last = _last(found, _FCN)
    learnt = found[(found["accuracy"] > _AT_CHANCE) | (found[EPOCH] == 0)]
    stuck = _at(found[found["accuracy"] <= _AT_CHANCE], _CIFAR, 1)
    unlearnt = f" (with SGD, which has not learnt by then, {_range(stuck, column)})" if len(stuck) else ""
    lines = "; ".join(
        f"{name}: {', '.join(_range(_at(learnt, name, epoch), column) for epoch in (0, 1))}"
        f"{unlearnt if name == _CIFAR else ''}, {_range(_at(learnt, name, end), column)} at epoch {end:g}"
        for name in (_LNN, _LENET, _CIFAR)
        if (end := _last(found, name)) > 1
    )
    return (
        "**The largest eigenvalue of the Hessian rises as a network begins to learn, but for the FCN.** At random, at "
        f"epoch 1 and at the last epoch with every optimiser: {lines}. That of the FCN, whose BatchNorm couples the "
        f"samples of a minibatch, falls from {_range(_at(found, _FCN, 0), column)} to "
        f"{_range(_at(found, _FCN, 1), column)} at epoch 1, and is {_range(_at(found, _FCN, last), column)} at epoch "
        f"{last:g}."
    )
