import warnings
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

import gradlaw as gl
from gradlaw.stats.alternatives import TailAlternative, TailComparison, compare_tails, compare_tails_rows
from gradlaw.stats.alternatives.cutoff import CutoffTail
from gradlaw.stats.alternatives.lognormal import normal_tail

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import powerlaw

PACKAGE_NAMES = {
    "lognormal": "lognormal",
    "exponential": "exponential",
    "stretched_exponential": "stretched_exponential",
    "power_law_with_cutoff": "truncated_power_law",
}


def _samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "pareto 1.5": rng.pareto(1.5, 3000) + 1,
        "pareto 0.6": rng.pareto(0.6, 3000) + 1,
        "pareto 4": rng.pareto(4, 3000) + 1,
        "lognormal": rng.lognormal(0, 1, 3000),
        "exponential": rng.exponential(size=3000) + 0.5,
        "weibull": rng.weibull(0.5, 3000),
        "normal": rng.normal(size=3000),
        "uniform": rng.random(3000) + 3,
        "cauchy": rng.standard_cauchy(3000),
    }


SAMPLES = _samples()
COMPARISONS = {name: compare_tails(values, 500) for name, values in SAMPLES.items()}


def _density(alternative: TailAlternative, y: np.ndarray) -> np.ndarray:
    """p(y) from the reported parameters alone, by other routes than the product's."""
    p = alternative.parameters
    if alternative.family == "lognormal":
        return stats.lognorm.pdf(y, p["sigma"], scale=np.exp(p["mu"])) / stats.lognorm.sf(
            1, p["sigma"], scale=np.exp(p["mu"])
        )
    if alternative.family == "exponential":
        return stats.expon.pdf(y - 1, scale=1 / p["rate"])
    if alternative.family == "stretched_exponential":
        return p["shape"] * p["rate"] * y ** (p["shape"] - 1) * np.exp(p["rate"] * (1 - y ** p["shape"]))
    log_normalizer = float(mpmath.log(mpmath.expint(p["beta"], p["rate"])) + p["rate"])
    return np.exp(-p["beta"] * np.log(y) - p["rate"] * (y - 1) - log_normalizer)


def _package(values: np.ndarray, comparison: TailComparison) -> powerlaw.Fit:
    return powerlaw.Fit(np.abs(values), xmin=comparison.lambda_min, verbose=False)


@pytest.mark.parametrize("name", SAMPLES)
def test_likelihoods_are_those_of_the_reported_parameters_and_densities_integrate_to_one(name):
    y = np.sort(np.abs(SAMPLES[name]))[-500:]
    y /= y[0]
    for alternative in COMPARISONS[name].alternatives:
        if alternative.status == "power law limit":
            continue
        assert alternative.status == "converged"
        if alternative.family == "lognormal" and alternative.parameters["mu"] < -20 * alternative.parameters["sigma"]:
            continue  # scipy's survival function underflows: the test near the limit
        log_likelihood = np.log(_density(alternative, y)).sum()
        assert alternative.log_likelihood == pytest.approx(log_likelihood, abs=1e-7)
        edges = [0, *np.quantile(np.log(y), [0.1, 0.5, 0.9]), np.log(y[-1]), 4 * np.log(y[-1]) + 40 * np.log(y).mean()]
        mass = sum(
            integrate.quad(lambda t, a=alternative: _density(a, np.exp(t)) * np.exp(t), low, high, epsabs=1e-12)[0]
            for low, high in pairwise(edges)
            if np.exp(high) < 1e300
        )
        assert mass == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_general_optimiser_finds_a_better_fit(name):
    y = np.sort(np.abs(SAMPLES[name]))[-500:]
    y /= y[0]
    log = np.log(y)
    comparison = COMPARISONS[name]

    def lognormal(p):
        start = -p[0] / np.exp(p[1])
        log_density = -((log - p[0]) ** 2) / (2 * np.exp(2 * p[1])) - log - p[1] - np.log(2 * np.pi) / 2
        return -(log_density - special.log_ndtr(-start)).sum()

    def stretched(p):
        shape = np.exp(p[0])
        return -(p[0] + p[1] + (shape - 1) * log - np.exp(p[1]) * np.expm1(shape * log)).sum()

    def cutoff(p):
        return -(-p[0] * log - np.exp(p[1]) * (y - 1) - CutoffTail.of(p[0] - 1 + np.exp(p[1]), np.exp(p[1]))
                 .log_integral).sum()  # fmt: skip

    starts = {lognormal: [0.0, 0.0], stretched: [-0.5, 0.0], cutoff: [comparison.power_law.beta, -2.0]}
    for function, alternative in zip(starts, (comparison.lognormal, comparison.stretched_exponential,
                                              comparison.power_law_with_cutoff), strict=True):  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):
            found = optimize.minimize(function, starts[function], method="Nelder-Mead", options={"maxiter": 300})
        assert alternative.log_likelihood >= -found.fun - 1e-6, alternative.family


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["pareto 1.5", "pareto 0.6", "pareto 4", "lognormal", "exponential", "weibull"])
def test_agrees_with_the_powerlaw_package_where_that_converges(name, capsys):
    comparison, values = COMPARISONS[name], SAMPLES[name]
    package = _package(values, comparison)
    shift = -comparison.k * np.log(comparison.lambda_min)  # log-likelihoods of x from those of x / lambda_min
    assert comparison.power_law.beta == pytest.approx(package.power_law.alpha, rel=1e-12)
    package_log_likelihood = package.power_law.loglikelihoods(package.data).sum()
    assert comparison.log_likelihood + shift == pytest.approx(package_log_likelihood, abs=1e-8)
    for alternative in comparison.alternatives:
        theirs = PACKAGE_NAMES[alternative.family]
        fitted = getattr(package, theirs)
        if alternative.family == "lognormal" and fitted._pdf_base_function(package.data).min() < 1e-300:
            continue  # subnormal densities: the test after the next
        log_likelihood = fitted.loglikelihoods(package.data).sum()
        assert alternative.log_likelihood + shift >= log_likelihood - 1e-6
        out_of_reach = alternative.family == "power_law_with_cutoff" and alternative.parameters["beta"] < 1
        if alternative.status == "power law limit" or out_of_reach:
            continue
        assert alternative.log_likelihood + shift == pytest.approx(log_likelihood, abs=1e-4)
        ratio, p_value = package.distribution_compare("power_law", theirs)
        normalized, _ = package.distribution_compare("power_law", theirs, normalized_ratio=True)
        assert alternative.ratio == pytest.approx(ratio, abs=1e-4)
        assert alternative.normalized_ratio == pytest.approx(normalized, abs=5e-3)
        assert alternative.p_value == pytest.approx(p_value, rel=0.05)
        for ours, package_value in zip(_in_data_units(alternative, comparison.lambda_min), (
                fitted.parameter1, fitted.parameter2), strict=False):  # fmt: skip
            assert ours == pytest.approx(package_value, rel=2e-3, abs=1e-3)
    capsys.readouterr()


def _in_data_units(alternative: TailAlternative, lambda_min: float) -> tuple[float, ...]:
    p = alternative.parameters
    match alternative.family:
        case "lognormal":
            return p["mu"] + np.log(lambda_min), p["sigma"]
        case "exponential":
            return (p["rate"] / lambda_min,)
        case "stretched_exponential":  # theirs is exp(-(Lambda x)^beta)
            return p["rate"] ** (1 / p["shape"]) / lambda_min, p["shape"]
        case _:
            return p["beta"], p["rate"] / lambda_min


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_the_power_law_is_the_limit_the_package_stops_on_the_way(capsys):
    for name in ("pareto 1.5", "pareto 0.6", "pareto 4"):
        comparison = COMPARISONS[name]
        package = _package(SAMPLES[name], comparison)
        ours, (theirs, _) = (
            comparison.stretched_exponential,
            package.distribution_compare("power_law", "stretched_exponential"),
        )
        assert (ours.status, ours.ratio, ours.p_value) == ("power law limit", 0.0, 1.0)
        assert theirs > 1  # "favours the power law", though the family comes as close to it as one likes
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_the_package_finds_a_better_lognormal_its_densities_have_underflowed(capsys):
    comparison = COMPARISONS["pareto 0.6"]
    package = _package(SAMPLES["pareto 0.6"], comparison)
    ratio, _ = package.distribution_compare("power_law", "lognormal")
    assert ratio < -0.1
    assert package.lognormal._pdf_base_function(package.data).max() < 1e-310
    with mpmath.workdps(50):
        mu, sigma = mpmath.mpf(float(package.lognormal.mu)), mpmath.mpf(float(package.lognormal.sigma))
        logs = [mpmath.log(float(x)) for x in package.data]
        survival = mpmath.erfc((min(logs) - mu) / (sigma * mpmath.sqrt(2))) / 2
        constant = mpmath.log(survival * sigma * mpmath.sqrt(2 * mpmath.pi))
        log_likelihood = float(sum(-z - ((z - mu) / sigma) ** 2 / 2 - constant for z in logs))
    assert log_likelihood < package.power_law.loglikelihoods(package.data).sum()  # at their own parameters
    capsys.readouterr()


def test_cutoff_integral_and_means_agree_with_the_exponential_integral():
    rng = np.random.default_rng(0)
    slopes = rng.choice([-1, 1], 60) * 10 ** rng.uniform(-3, 2.5, 60)
    rates = 10 ** rng.uniform(-30, 2.5, 60)
    for slope, rate in zip(slopes.tolist(), rates.tolist(), strict=True):
        with mpmath.workdps(40):
            # e^rate E_b(rate)
            def integral(b, rate=rate):
                return mpmath.hyperu(1, 2 - b, rate) if rate > 30 else mpmath.expint(b, rate) * mpmath.exp(rate)

            beta, step = mpmath.mpf(slope) + 1, mpmath.mpf(10) ** -12
            log_integral = mpmath.log(integral(beta))
            mean_log = -(mpmath.log(integral(beta + step)) - mpmath.log(integral(beta - step))) / (2 * step)
            mean_growth = integral(beta - 1) / integral(beta) - 1 - mean_log
        ours = CutoffTail.of(slope + rate, rate)
        assert ours.log_integral == pytest.approx(float(log_integral), rel=1e-13, abs=1e-13)
        assert ours.mean_log == pytest.approx(float(mean_log), rel=1e-12)
        assert ours.mean_growth == pytest.approx(float(mean_growth), rel=1e-11)


@pytest.mark.parametrize(("beta", "rate"), [(2.5, 0.01), (0.3, 2.0), (-3.0, 5.0), (1.0, 1e-6), (30.0, 0.5)])
def test_cutoff_integral_agrees_with_plain_quadrature(beta, rate):
    reach = 1 + 50 / rate
    edges = np.geomspace(1, reach, 12)
    pieces = [
        integrate.quad(lambda y: y**-beta * np.exp(-rate * (y - 1)), low, high, epsabs=0, epsrel=1e-12)[0]
        for low, high in pairwise(edges)
    ]
    ours = CutoffTail.of(beta - 1 + rate, rate).log_integral
    assert ours == pytest.approx(np.log(sum(pieces)), abs=1e-10)
    if beta > 0 and beta == round(beta):
        assert ours == pytest.approx(np.log(special.expn(int(beta), rate)) + rate, abs=1e-12)


@pytest.mark.parametrize("start", [-40, -10, -1, 0, 1, 1.99, 2, 2.01, 5, 30, 1000, 1e5])
def test_truncated_normal_moments_agree_with_quadrature(start):
    with mpmath.workdps(40):
        width = 1 / (1 + max(start, 0))
        edges = [0, width / 10, width, 10 * width, *(max(-start, 0) + width * np.array([0.5, 3, 20, 60]))]
        moments = [
            mpmath.quad(lambda u, j=j: u**j * mpmath.exp(-u * start - u * u / 2), sorted(edges)) for j in (0, 1, 2)
        ]
        mean, curvature = moments[1] / moments[0], 1 - moments[2] * moments[0] / (2 * moments[1] ** 2)
    ours = normal_tail(start)
    assert ours[0] == pytest.approx(float(mean), rel=1e-12)
    assert ours[1] == pytest.approx(float(curvature), rel=1e-11)


@pytest.mark.parametrize("bend", [1e-8, 1e-5, 1e-2])
def test_fits_near_the_power_law_limit_keep_their_accuracy(bend):
    """Exponential quantiles bent a little: -mu / sigma is about bend^(-1/2), where textbook formulas cancel."""
    quantiles = -np.log((np.arange(1, 1001) - 0.5) / 1000)

    def log_ratios(power):
        return np.append(quantiles**power, 0.0)

    def curvature(power):
        return 1 - (log_ratios(power) ** 2).mean() / (2 * log_ratios(power).mean() ** 2)

    values = np.exp(log_ratios(optimize.brentq(lambda power: curvature(power) - bend, 0.5, 1.2, xtol=1e-15)))
    comparison = compare_tails(values, 1001)
    p = comparison.lognormal.parameters
    assert -p["mu"] / p["sigma"] == pytest.approx(bend**-0.5, rel=0.1)
    with mpmath.workdps(60):
        mu, sigma = mpmath.mpf(p["mu"]), mpmath.mpf(p["sigma"])
        constant = mpmath.log(mpmath.erfc(-mu / (sigma * mpmath.sqrt(2))) / 2 * sigma * mpmath.sqrt(2 * mpmath.pi))
        logs = [mpmath.log(y) for y in values.tolist()]
        log_likelihood = float(sum(-z - ((z - mu) / sigma) ** 2 / 2 - constant for z in logs))
    assert comparison.lognormal.log_likelihood == pytest.approx(log_likelihood, abs=1e-9)
    # Both families bend the tail by the same z^2 to second order, and gain K curvature^2 / 2 by it.
    for alternative in (comparison.lognormal, comparison.stretched_exponential):
        assert alternative.ratio == pytest.approx(-1001 * bend**2 / 2, rel=0.05, abs=1e-11)


def test_data_of_each_family_favour_it():
    rng = np.random.default_rng(4)
    size = 4000
    exponential = compare_tails(rng.exponential(size=size) + 1, size)
    assert exponential.exponential.ratio < 0
    assert exponential.exponential.p_value < 1e-6
    assert exponential.exponential.parameters["rate"] == pytest.approx(1, rel=4 / np.sqrt(size))
    assert exponential.stretched_exponential.parameters["shape"] == pytest.approx(1, abs=0.1)
    assert exponential.power_law_with_cutoff.parameters["beta"] == pytest.approx(0, abs=0.3)

    lognormal = compare_tails(np.exp(np.abs(rng.normal(size=size))), size)  # mu = 0, sigma = 1, above 1
    assert lognormal.lognormal.p_value < 1e-6
    assert lognormal.lognormal.parameters == {"mu": pytest.approx(0, abs=0.3), "sigma": pytest.approx(1, abs=0.1)}
    assert max(lognormal.alternatives, key=lambda a: a.log_likelihood).family == "lognormal"

    stretched = compare_tails((1 + rng.exponential(size=size) / 2) ** (1 / 0.6), size)  # shape 0.6, rate 2
    assert stretched.stretched_exponential.p_value < 1e-6
    assert stretched.stretched_exponential.parameters == {
        "shape": pytest.approx(0.6, abs=0.15), "rate": pytest.approx(2, rel=0.4)}  # fmt: skip

    candidates = rng.random(200_000) ** (-1 / 0.8)  # beta = 1.8, thinned to a cut-off at 1 / 0.1
    cutoff = compare_tails(candidates[rng.random(200_000) < np.exp(-0.1 * (candidates - 1))][:size], size)
    assert cutoff.power_law_with_cutoff.p_value < 1e-6
    assert cutoff.power_law_with_cutoff.parameters == {
        "beta": pytest.approx(1.8, abs=0.1), "rate": pytest.approx(0.1, rel=0.2)}  # fmt: skip
    assert max(cutoff.alternatives, key=lambda a: a.log_likelihood).family == "power_law_with_cutoff"

    pareto = compare_tails(rng.random(size) ** -0.8, size)
    assert pareto.exponential.ratio > 0
    assert pareto.exponential.p_value < 1e-6
    assert all(a.p_value > 0.05 and a.nested_p_value > 0.05 for a in pareto.alternatives if a.family != "exponential")


def test_families_that_contain_the_power_law_never_lose_to_it_and_their_nested_p_values_hold_their_level():
    rng = np.random.default_rng(5)
    count, level = 500, 0.1
    comparisons = [compare_tails(rng.random(200) ** -0.7, 200) for _ in range(count)]
    tolerance = 4 * np.sqrt(level * (1 - level) / count)
    for family in ("lognormal", "stretched_exponential", "power_law_with_cutoff"):
        results = [getattr(c, family) for c in comparisons]
        assert all(r.ratio <= 1e-9 for r in results)
        assert {r.status for r in results} == {"converged", "power law limit"}
        rejected = np.mean([r.nested_p_value < level for r in results])
        assert rejected < level + tolerance
        if family != "power_law_with_cutoff":
            assert rejected > level - tolerance
            assert np.mean([r.p_value < level for r in results]) < 0.02  # Vuong's test assumes separate families


def test_ratio_statistics_follow_their_definition():
    comparison = COMPARISONS["weibull"]
    y = np.sort(np.abs(SAMPLES["weibull"]))[-500:]
    y /= y[0]
    beta = comparison.power_law.beta
    power_law = np.log((beta - 1) * y**-beta)
    assert comparison.log_likelihood == pytest.approx(power_law.sum(), rel=1e-12)
    for alternative in comparison.alternatives:
        difference = power_law - np.log(_density(alternative, y))
        assert alternative.ratio == pytest.approx(difference.sum(), abs=1e-8)
        normalized = difference.sum() / (difference.std() * np.sqrt(500))
        assert alternative.normalized_ratio == pytest.approx(normalized, rel=1e-7)
        if alternative.family == "power_law_with_cutoff":
            assert alternative.p_value == pytest.approx(stats.chi2.sf(-2 * difference.sum(), 1), rel=1e-6)
        else:
            assert alternative.p_value == pytest.approx(2 * stats.norm.sf(abs(normalized)), rel=1e-6)


@pytest.mark.parametrize("name", ["pareto 0.6", "lognormal", "uniform"])
def test_scale_does_not_matter(name):
    one = COMPARISONS[name]
    same = compare_tails(SAMPLES[name] * 2.0**90, 500)
    assert same.alternatives == one.alternatives
    for scale in (1e-30, 1e30):
        other = compare_tails(-SAMPLES[name] * scale, 500)
        for a, b in zip(one.alternatives, other.alternatives, strict=True):
            assert (a.status, a.ratio, a.p_value) == (
                b.status,
                pytest.approx(b.ratio, abs=1e-8),
                pytest.approx(b.p_value),
            )
            assert a.parameters == pytest.approx(b.parameters, rel=1e-6)


@pytest.mark.parametrize("spread", [1e-9, 1e-6, 1e-3, 1.0])
def test_values_close_together_lose_no_accuracy(spread):
    """As the spread vanishes, ln y and y - 1 become one, and the cut-off power law a truncated normal distribution."""
    values = 1 + spread * np.random.default_rng(0).random(2000)
    comparison = compare_tails(values, 500)
    assert {a.status for a in comparison.alternatives} == {"converged"}
    both = comparison.lognormal.ratio, comparison.power_law_with_cutoff.ratio
    assert both[0] == pytest.approx(both[1], abs=1e-5 + 40 * spread)


def test_extreme_and_tiny_tails_converge():
    rng = np.random.default_rng(8)
    for k in (2, 3, 10, 200):
        for s in (1e-3, 0.5, 5.0, 20.0, 60.0):
            comparison = compare_tails(rng.random(k) ** -s, k)
            assert "not converged" not in {a.status for a in comparison.alternatives}
            assert all(np.isfinite([a.ratio, a.normalized_ratio, a.p_value]).all() for a in comparison.alternatives)


def test_half_precision_and_negative_values_are_taken_by_magnitude():
    values = torch.from_numpy(SAMPLES["lognormal"]).to(torch.bfloat16)
    assert compare_tails(values, 100).alternatives == compare_tails(-values.double().numpy(), 100).alternatives


@pytest.mark.parametrize(
    ("values", "k", "message"),
    [
        (np.ones(5), 1, "k=1 .* k from 2 to 5"),
        (np.ones(5), 6, "k=6 .* k from 2 to 5"),
        (np.ones((2, 5)), 3, "one dimension"),
        (np.array([1, 2, np.nan, 4, 5]), 3, "column 2 is nan"),
        (np.array([1, 2, np.inf, 4, 5]), 3, "column 2 is inf"),
        (np.ones(5), 3, "k=3 largest magnitudes all equal 1.0"),
        (np.array([0.0, 0, 0, 1, 2]), 3, "only 2 magnitudes are nonzero"),
        (np.array([1e-200, 1e200, 1e100]), 3, "260 decades"),
    ],
)
def test_bad_input_is_refused(values, k, message):
    with pytest.raises(gl.InputError, match=message):
        compare_tails(values, k)


def test_bad_rows_are_refused():
    with pytest.raises(gl.InputError, match="two dimensions"):
        compare_tails_rows(np.ones(5), 3)
    with pytest.raises(gl.InputError, match="row 1, column 0 is nan"):
        compare_tails_rows(np.array([[1.0, 2], [np.nan, 3]]), 2)
    with pytest.raises(gl.InputError, match="row 1 span more than 260 decades"):
        compare_tails_rows(np.array([[1.0, 2], [1e-200, 1e200]]), 2)
    with pytest.raises(gl.InputError, match="k=3"):
        compare_tails_rows(np.ones((2, 2)), 3)
