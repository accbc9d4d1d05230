"""The script of ``--print-completion``: whole, taken by bash, and what it completes there."""

import argparse
import shlex
import subprocess
import sys

import pytest

from gradlaw.cli.completion import SHELLS, completion
from gradlaw.cli.main import _COMMANDS, _parser, main

COMPLETE = """
source ./script
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_gradlaw
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """By shell."""
    parser = _parser(["--print-completion"])
    return {shell: completion(parser, shell) for shell in SHELLS}


def _options_of_commands() -> dict[str, set[str]]:
    """By command, as its own parser has them."""
    found = {}
    for name in _COMMANDS:
        parsers = next(a for a in _parser([name])._actions if isinstance(a, argparse._SubParsersAction)).choices
        found[name] = {option for action in parsers[name]._actions for option in action.option_strings}
    return found


def test_every_command_and_option_is_in_the_script(scripts):
    options = _options_of_commands()
    assert len(options) == 11
    assert min(map(len, options.values())) > 3
    for name, every in options.items():
        prefix = f"_shtab_gradlaw_{name.replace('-', '_')}_option_strings="
        (line,) = (line for line in scripts["bash"].splitlines() if line.startswith(prefix))
        listed = set(line.removeprefix(prefix).strip("()").replace("'", "").split())
        assert listed == every
        assert f"{name}:" in scripts["zsh"]
        assert not [option for option in every if option not in scripts["zsh"]]
        assert name in scripts["tcsh"]


def test_it_is_printed(scripts, capsys):
    assert main(["--print-completion", "bash"]) == 0
    assert capsys.readouterr().out == scripts["bash"] + "\n"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["batch"], ["batch-size"]),
        (["batch-size", "--opt"], ["--optimiser"]),
        (["train", "--optimiser", ""], ["sgd", "momentum", "adam"]),
        (["report", "ru"], ["runs"]),
        (["report", "--j"], ["--json"]),
    ],
)
def test_bash_completes(scripts, tmp_path, words, completed):
    (tmp_path / "runs").mkdir()
    (tmp_path / "script").write_text(scripts["bash"])
    code = COMPLETE.format(words=shlex.join(["gradlaw", *words]), last=len(words))
    done = subprocess.run(["bash", "--norc", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == sorted(completed)
    subprocess.run(["bash", "-n", "script"], cwd=tmp_path, check=True)


def test_without_shtab_the_command_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        "gradlaw: error: the completion of a shell needs shtab, which is not installed: "
        "pip install 'gradlaw[completion]'\n"
    )


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--print-completion=fish"])
    assert "invalid choice: 'fish'" in capsys.readouterr().err
