"""The command line: parses, calls, prints."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from gradlaw import __version__
from gradlaw.analysis.files import check_free, check_space
from gradlaw.analysis.result import Analysis, analyze
from gradlaw.cli.inputs import (
    DATA_OPTIONS,
    MODEL_OPTIONS,
    add_data_options,
    add_model_options,
    build,
    load_named_data,
    model_name,
    model_settings,
    name_of_inputs,
    take_from_checkpoint,
    with_label_noise,
)
from gradlaw.cli.problem_reference import import_problem
from gradlaw.cli.reproduce import add_reproduce
from gradlaw.cli.train import add_train
from gradlaw.errors import InputError
from gradlaw.history.settings import ENGINES
from gradlaw.history.stores.precision import DTYPES
from gradlaw.history.transforms import parse_transform
from gradlaw.problem import RANDOMNESS, Problem
from gradlaw.progress import Progress
from gradlaw.report import summary
from gradlaw.report.terminal import WIDTH
from gradlaw.training import Checkpoint
from gradlaw.zoo import MODELS

BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except InputError as error:
        print(f"gradlaw: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gradlaw: interrupted; the run can be repeated with the same seed", file=sys.stderr)
        return INTERRUPTED
    return 0


def _analyze(options: argparse.Namespace) -> None:
    transforms = [parse_transform(text) for text in options.transform]
    checkpoint = take_from_checkpoint(options)
    out = Path(options.out or _default_directory(options, checkpoint))
    check_free(out, options.force)
    with Progress(shown=not options.quiet) as progress:
        problem = _problem(options, checkpoint, progress)
        check_space(out, options.iterations, problem.dimensions)
        analysis = analyze(
            problem,
            iterations=options.iterations,
            batch_size=options.batch_size,
            k=options.k,
            gaussian_k=options.gaussian_k,
            alpha=options.alpha,
            seed=options.seed,
            engine=options.engine,
            transforms=transforms,
            store=options.store,
            replacement=options.replacement,
            depth=options.depth,
            controls=options.controls,
            dtype=options.dtype,
            progress=progress,
        )
        analysis.save(out, options.force, progress=progress)
    _print_summary(analysis)
    print(f"\nreport: {out / 'report.html'}")


def _report(options: argparse.Namespace) -> None:
    analysis = Analysis.load(options.run)
    output = Path(options.output or Path(options.run) / "report.html")
    analysis.report(output)
    _print_summary(analysis)
    print(f"\nreport: {output}")


def _problem(options: argparse.Namespace, checkpoint: Checkpoint | None, progress: Progress) -> Problem:
    if options.problem is not None:
        for name in (*DATA_OPTIONS, *MODEL_OPTIONS, "split", "device", "parameters", "randomness"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} does not go with --problem: the function decides it")
        problem = import_problem(options.problem)
        if checkpoint is not None:
            checkpoint.restore(problem.model)
        return problem
    model_name(options)  # refuse an unknown one before the data are read
    data = with_label_noise(options, load_named_data(options, options.split or "train", progress))
    settings = model_settings(options, data)
    model = build(settings, checkpoint)
    name = settings.name if checkpoint is None else f"{settings.name} ({checkpoint.path.name})"
    return Problem(model, MODELS[settings.name].loss, data, options.parameters, options.device,
                   randomness=options.randomness or RANDOMNESS[0], name=name)  # fmt: skip


def _default_directory(options: argparse.Namespace, checkpoint: Checkpoint | None) -> str:
    what = options.problem.replace(":", "-") if options.problem else name_of_inputs(options, checkpoint)
    chosen = "".join(f"-{text.replace('=', '')}" for text in options.transform)
    return f"runs/{what}{chosen}-B{options.batch_size}-T{options.iterations}-seed{options.seed}"


def _print_summary(analysis: Analysis) -> None:
    console = Console()
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    console.print(summary(analysis), highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradlaw", description="A statistical X-ray of the stochastic gradients of a PyTorch model."
    )
    parser.add_argument("--version", action="version", version=f"gradlaw {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_analyze(commands)
    _add_report(commands)
    add_train(commands)
    add_reproduce(commands)
    return parser


def _add_report(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="print a finished run and write its report again")
    report.add_argument("run", type=Path, help="run directory")
    report.add_argument("--output", help="where to write the page (default: report.html in the run directory)")
    report.set_defaults(command=_report)


def _add_analyze(commands: argparse._SubParsersAction) -> None:
    analyze = commands.add_parser(
        "analyze",
        help="collect gradients, test them in both directions, compute their spectra, write a report",
        description="Collects the gradients of T minibatches at fixed parameters, tests them across parameters\n"
        "and across minibatches for power-law tails and Gaussianity, computes the spectra of their\n"
        "second moment and covariance, and writes tables, figures and report.html. Without arguments:\n"
        "the paper's fully connected network, randomly initialised, on scikit-learn's handwritten digits.",
        epilog="examples:\n"
        "  gradlaw analyze\n"
        "  gradlaw analyze --data ylecun/mnist --model lenet --batch-size 1\n"
        "  gradlaw analyze --checkpoint checkpoints/lenet-mnist.safetensors --data ylecun/mnist --batch-size 1\n"
        "  gradlaw analyze --problem mypackage.mymodule:make_problem --iterations 2000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = analyze.add_argument_group("what to analyse")
    add_data_options(what)
    what.add_argument("--split", help="split of the data (default: train)")
    add_model_options(what, "randomly initialised without --checkpoint")
    what.add_argument("--checkpoint", metavar="FILE", help="weights: a checkpoint of gradlaw train, which also gives "
                      "data and model, or a state_dict (.safetensors, .pt) of the --model or --problem")  # fmt: skip
    what.add_argument("--problem", metavar="MODULE:FUNCTION",
                      help="your own function that returns a gradlaw.Problem, instead of --data, --model")  # fmt: skip
    what.add_argument("--parameters", action="append", metavar="PATTERN",
                      help="analyse only the parameters whose name matches, such as 'fc*' (repeatable)")  # fmt: skip
    what.add_argument("--randomness", choices=RANDOMNESS, help="what to do with a model that is random at fixed "
                      "parameters, dropout for instance (default: refuse)")  # fmt: skip
    how = analyze.add_argument_group("how")
    how.add_argument("--batch-size", "-B", type=int, default=10, help="samples in a minibatch (default: 10)")
    how.add_argument("--iterations", "-T", type=int, default=5000, help="number of minibatches (default: 5000)")
    how.add_argument("--replacement", action="store_true", help="draw minibatches with replacement")
    how.add_argument("--k", "-K", type=int, help="largest values in a power-law test (default: 1000, and at most a "
                     "third of a series)")  # fmt: skip
    how.add_argument("--gaussian-k", type=int, default=100, help="values in a Gaussian test (default: 100)")
    how.add_argument("--alpha", type=float, default=0.05, help="significance level (default: 0.05)")
    how.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    how.add_argument("--transform", action="append", default=[], metavar="NAME[=VALUE]", help="what an optimiser would "
                     "make of the gradients, in its order: clip-norm=1.0, clip-value=0.1, weight-decay=5e-4, "
                     "momentum=0.9, adam (repeatable)")  # fmt: skip
    how.add_argument("--store", metavar="FOLDER", help="where to keep the gradients: memory, or a folder, which a "
                     "later run of the same problem and settings reads instead of collecting again (default: memory if "
                     "they take up to half of what is free, else a temporary folder)")  # fmt: skip
    how.add_argument("--dtype", choices=DTYPES, help="type to store gradients in (default: the one they are computed "
                     "in); the error of a narrower one is stated")  # fmt: skip
    how.add_argument("--depth", action="store_true", help="also: layers, other tail indices and families, Gaussianity "
                     "on all iterations")  # fmt: skip
    how.add_argument("--controls", action="store_true", help="also: the covariance spectra of three kinds of noise of "
                     "the same shape, where there is nothing to find")  # fmt: skip
    how.add_argument("--engine", choices=ENGINES, default="auto", help="how gradients are computed (default: auto)")
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu, or where the model is)")
    output = analyze.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="run directory (default: runs/ and a name made of the settings)")
    output.add_argument("--force", action="store_true", help="overwrite the run that the directory holds")
    output.add_argument("--quiet", action="store_true", help="no progress bars")
    analyze.set_defaults(command=_analyze)
