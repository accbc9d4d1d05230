"""The command line: parses, and hands over to the command. What a command needs is imported when it is chosen."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from importlib.metadata import version
from pkgutil import resolve_name
from typing import NoReturn

from gradlaw.cli.completion import SHELLS, completion
from gradlaw.cli.options.values import whole
from gradlaw.cli.signals import Ended, raise_from_now
from gradlaw.errors import InputError, OfAnotherRank, RankLost, printable, unknown
from gradlaw.extras import require

RANK_LOST, BAD_INPUT, PIPE_CLOSED = 1, 2, 141
_BY_RANKS = "gradlaw.cli.analyze:run"  # the command that several ranks share

# name: (what adds its options, the extra that it needs, its line in the help)
_COMMANDS = {
    "analyze": ("gradlaw.cli.options.analyze:add_options", "report",
                "collect gradients, test them in both directions, compute their spectra, write a report"),
    "batch-size": ("gradlaw.cli.options.batch_size:add_options", "data",
                   "estimate the critical batch size by layer and in all, and say when not to trust it"),
    "compare": ("gradlaw.cli.options.compare:add_options", "report",
                "set finished runs side by side, and say which differences are more than chance"),
    "report": ("gradlaw.cli.options.report:add_options", "report",
               "print a finished run and write its report again; one page of several runs"),
    "figures": ("gradlaw.cli.options.figures:add_options", "report",
                "write the figures of a finished run, for a paper"),
    "verify": ("gradlaw.cli.options.verify:add_options", "report",
               "check every file of a run, gradients, a training or results, and repair what can be"),
    "train": ("gradlaw.cli.options.train:add_options", "data",
              "train a model by the paper's recipe, with a checkpoint after every epoch"),
    "reproduce": ("gradlaw.cli.reproduce:add_options", "all",
                  "measure the paper's tables and figures, beside the published numbers"),
    "readings": ("gradlaw.cli.readings:add_options", "all",
                 "compare readings of what the paper leaves open, by the published numbers"),
    "along": ("gradlaw.cli.along:add_options", "all",
              "measure how the structure of gradients moves while networks learn"),
    "plan": ("gradlaw.cli.plan:add_options", "all",
             "estimate time, memory and disk of a reproduction on this device"),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: of the command, without its name; default: those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parser = _parser(given)
        options = parser.parse_args(given)
        if options.print_completion:
            print(completion(parser, options.print_completion))
            return 0
        _refuse_empty(options, given)
        _take_threads(options.threads)
        require(*options.needs)
        _refuse_ranks(options)
        command: Callable[[argparse.Namespace], int | None] = resolve_name(options.command)
        raise_from_now()
        options.stdout = sys.stdout
        with redirect_stdout(sys.stderr) if options.json else nullcontext():  # what the user's own code prints, too
            status = command(options) or 0
        sys.stdout.flush()
    except OfAnotherRank:  # which tells of it
        return BAD_INPUT
    except InputError as error:
        return _complain(str(error))
    except RankLost as error:
        return _complain(str(error), RANK_LOST)
    except BrokenPipeError:  # what reads the output has seen enough: gradlaw report RUN | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's own flush would fail
        return PIPE_CLOSED
    except OSError as error:  # of a file or a device, which the user knows more about than a traceback does
        if error.filename is None or error.strerror is None:
            raise
        return _complain(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt as stop:
        ended = stop if isinstance(stop, Ended) else Ended()
        print(printable(f"gradlaw: interrupted by {ended.name}; what was finished is whole. To go on: {_again(given)}"),
              file=sys.stderr)  # fmt: skip
        return ended.status
    return status


def _again(arguments: Sequence[str]) -> str:
    """The command that goes on where one with these arguments was interrupted."""
    words = list(arguments)
    if words[:1] == ["train"] and not {"--force", "--resume"} & set(words):
        words.append("--resume")
    return shlex.join(["gradlaw", *words])


def _complain(message: str, status: int = BAD_INPUT) -> int:
    print(printable(f"gradlaw: error: {message}"), file=sys.stderr)
    return status


def _refuse_empty(options: argparse.Namespace, given: Sequence[str]) -> None:
    for name, value in vars(options).items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise InputError(f"--{name.replace('_', '-')} is empty; leave it out for its default")
    if "" in given:  # a path of nothing would be the current directory
        raise InputError("an argument is empty; leave it out, or give . for the current directory")


def _take_threads(threads: int | None) -> None:
    """Compute with so many threads: the libraries read the variable when they are loaded, PyTorch can be told later."""
    if threads is None:
        return
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    else:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _refuse_ranks(options: argparse.Namespace) -> None:
    ranks = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and ranks not in ("0", "1") and options.command != _BY_RANKS:
        raise InputError(f"several ranks share gradlaw analyze alone; start this command once, not {ranks} times")


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and where the help is."""

    def error(self, message: str) -> NoReturn:
        print(printable(f"{self.prog}: error: {message}; see {self.prog} --help"), file=sys.stderr)
        self.exit(BAD_INPUT)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of the command that the arguments name; of the others only the names.

    For ``--print-completion`` it has the options of every command.
    """
    parser = _Parser(prog="gradlaw", description="A statistical X-ray of the stochastic gradients of a PyTorch model.")
    parser.add_argument("--version", action="version", version=f"gradlaw {version('gradlaw')}")
    parser.add_argument("--print-completion", choices=SHELLS, metavar="SHELL", help="print the script by which a shell "
                        f"completes commands and options ({', '.join(SHELLS)}), and end")  # fmt: skip
    whole_parser = any(argument.startswith("--print-completion") for argument in arguments)
    commands = parser.add_subparsers(required=not whole_parser, metavar="COMMAND")
    chosen = None if whole_parser else next((word for word in arguments if not word.startswith("-")), None)
    if chosen is not None and chosen not in _COMMANDS:
        raise unknown("command", chosen, _COMMANDS)
    for name, (options, extra, meaning) in _COMMANDS.items():
        command = commands.add_parser(name, help=meaning, formatter_class=argparse.RawDescriptionHelpFormatter)
        if whole_parser or name == chosen:
            resolve_name(options)(command)
            command.add_argument("--threads", type=whole(), metavar="N", help="to compute with (default: one a core); "
                                 "on a machine that others use, small models are faster with 1")  # fmt: skip
            command.set_defaults(needs=(extra, f"gradlaw {name}"), json=command.get_default("json") or False)
    return parser
