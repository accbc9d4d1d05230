"""The public contract: names do not come and go by chance, and each says what it takes, returns and refuses."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
# A name that is added, renamed or taken away is changed here too, and in the change log.
PUBLIC = {
    "gradlaw": """
        Adam Analysis CheckpointAnalyses ClipByNorm ClipByValue Comparison CriticalBatchSize GradientHistory
        HessianSpectrum InputError Momentum PopulationSpectrum PowerLawFit Problem Progress Recipe Spectrum
        TrainingRun Verification Watch WatchLog WeightDecay analyze analyze_checkpoints block_densities build_model
        collect compare compare_curvature corrupt_labels count_outliers critical_batch_size curvature data
        default_recipe dynamics eigengaps eigenpairs fit_power_law fit_power_law_rows from_arrays gauss_newton
        gaussian_test_rows gradient_noise gradient_spectrum gradient_tests hessian hessian_spectrum history
        integrations load_checkpoint load_data load_text population_spectrum read_watch spectra spectral_density
        stats train training verify watch zoo
    """,
    "gradlaw.history": """
        Adam ClipByNorm ClipByValue GradientHistory HistorySettings Momentum Transform WeightDecay collect
    """,
    "gradlaw.stats": """
        DiscretePowerLawFit ExponentUncertainty FalseAlarmRates Gaussianity GoodnessOfFit
        GradientTests PowerLawFit PowerLawFits StableIndices StartUncertainty TailAlternative TailAlternatives
        TailComparison TailComparisons TailIndices TailStartScan TruncatedPowerLawFit bootstrap_p_value
        calibrated_critical_distance compare_tails compare_tails_rows critical_distance
        exponent_uncertainty false_alarm_rates fit_discrete_power_law fit_power_law fit_power_law_rows
        fit_truncated_power_law gaussian_pass_rate gaussian_test_rows gaussianity_rows
        goodness_of_fit gradient_tests hill_curve hill_rows moment_curve moment_rows no_verdict passing_ceiling
        rates_by_group scan_tail_start stable_index_rows tail_start_uncertainty
    """,
    "gradlaw.spectra": """
        DavisKahan Eigengaps Eigenvectors FactorGram GradientNoise Outliers PopulationLaw PopulationSpectrum Shrinkage
        SpectraOverIterations SpectralMoments Spectrum SubspaceOverlap control_spectrum count_outliers
        cross_validated_spectrum davis_kahan diagonal_noise eigengaps factor_gram gradient_eigenvectors gradient_noise
        gradient_noise_by_layer gradient_spectrum isotropic_noise layer_spectra ledoit_wolf permuted_within_dimensions
        population_spectrum principal_angles spectral_moments spectrum_over_iterations subspace_overlap
    """,
    "gradlaw.curvature": """
        CurvatureComparison CurvatureOperator Eigenpairs HessianSpectrum HessianSplit LossCurvature OuterProducts
        SpectralDensity as_operator block_densities compare_curvature dense eigenpairs empirical_fisher gauss_newton
        gradient_covariance hessian hessian_spectrum monte_carlo_fisher quadratic_forms spectral_density split_hessian
    """,
    "gradlaw.dynamics": """
        BatchSharpness BlockDistances EdgeOfStability ParticipationRatios Subspace SubspaceProgress SubspaceRotation
        batch_sharpness block_distances edge_of_stability operator_distance participation_ratios
        subspace_progress subspace_rotation
    """,
    "gradlaw.watch": """
        GradientState Layer Microbatches NoiseScale NoiseScaleAccumulator Ranks Samples Watch WatchLog read_watch watch
    """,
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]
# They take what has been checked already.
WITHOUT_ERRORS = {"dense", "quadratic_forms"}

SCRIPT = """
import gradlaw as gl

def rates(problem: gl.Problem) -> float:
    history = gl.collect(problem, iterations=20, batch_size=2, engine={engine}, dtype={dtype})
    spectrum = gl.hessian_spectrum(problem, k=2, which={which})
    print(spectrum.eigenvalues, gl.stats.critical_distance(100), gl.__version__)
    return gl.gradient_tests(history, axis={axis}, k=10).power_law_rate
"""
RIGHT = {"axis": "iteration", "engine": "vmap", "dtype": "float32", "which": "SA"}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_those_agreed_on(module):
    names = importlib.import_module(module).__all__
    assert sorted(names) == sorted(PUBLIC[module].split())
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_names_are_documented(module, name):
    member = getattr(importlib.import_module(module), name)
    text = inspect.getdoc(member) or ""
    assert len(text) > 20
    if isinstance(member, ModuleType | type) or not callable(member):
        return
    signature = inspect.signature(member)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert re.search(rf"^ +[*]*{parameter.name}: \S", text, re.MULTILINE), parameter
    assert "Args:" in text
    assert ("Raises:" in text) == (name not in WITHOUT_ERRORS)


def _mypy(tmp_path: Path, words: dict[str, str]) -> str:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(**{name: f'"{word}"' for name, word in words.items()}))
    cache = ROOT / ".mypy_cache/script"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "--config-file", "pyproject.toml",
               "--follow-imports", "silent", str(script)]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_a_type_checker_takes_a_right_script_and_finds_every_wrong_word(tmp_path):
    assert _mypy(tmp_path, RIGHT).startswith("Success")
    wrong = {"axis": "iterration", "engine": "fast", "dtype": "float8", "which": "largest"}
    found = _mypy(tmp_path, wrong)
    for name, word in wrong.items():
        assert re.search(rf'Argument "{name}" to "\w+" has incompatible type "Literal\[\'{word}\'\]', found), found
    assert found.splitlines()[-1].startswith("Found 4 errors")
