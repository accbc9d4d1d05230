"""What it costs to import gradlaw and to ask it for help: seconds of CPU time, user and system.

Each is a process of its own with one thread, the smallest of several. The cost beyond PyTorch is that of a process that
imports PyTorch and then uses the name, less that of one that imports PyTorch alone. Before, public names were loaded
with the package (commit 88ee1df, the same machine in the same hour).

python bench/import_speed.py     # prints the table
"""

import os
import resource
import subprocess

from contest import OWN

REPEATS = 5
# What is run, and the seconds that it took before.
COMMANDS = {
    "gradlaw --version": (["-m", "gradlaw", "--version"], 2.84),
    "gradlaw --help": (["-m", "gradlaw", "--help"], 2.82),
    "gradlaw analyze --help": (["-m", "gradlaw", "analyze", "--help"], 2.79),
}
NAMES = {
    "import gradlaw": "import gradlaw",
    "gradlaw.Problem": "import gradlaw; gradlaw.Problem",
    "gradlaw.fit_power_law": "import gradlaw; gradlaw.fit_power_law",
    "gradlaw.collect": "import gradlaw; gradlaw.collect",
    "gradlaw.analyze": "import gradlaw; gradlaw.analyze",
    "every public name": "import gradlaw; [getattr(gradlaw, name) for name in gradlaw.__all__]",
}
BEYOND_BEFORE = 1.59  # of any name


def cpu_seconds(arguments: list[str]) -> float:
    """The least CPU time of a run of the interpreter."""
    return min(_once(arguments) for _ in range(REPEATS))


def _once(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([str(OWN), *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table() -> str:
    """The measurement in Markdown."""
    torch = cpu_seconds(["-c", "import torch"])
    lines = ["| command | before, s | now, s |", "|---|---:|---:|"]
    lines += [f"| `{name}` | {before:.2f} | {cpu_seconds(run):.2f} |" for name, (run, before) in COMMANDS.items()]
    lines += ["", f"| beyond `import torch` ({torch:.2f} s) | before, s | now, s |", "|---|---:|---:|"]
    for name, code in NAMES.items():
        lines.append(f"| `{name}` | {BEYOND_BEFORE:.2f} | {cpu_seconds(['-c', f'import torch; {code}']) - torch:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
