"""Runs the benchmarks and writes bench/RESULTS.md.

python bench/run.py [NAME ...]     # names of the sections below; default: all but the long. The others keep their text.
"""

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import machine

RESULTS = Path(__file__).with_name("RESULTS.md")
# A module beside this one: its docstring is the section's first paragraph, its table() the measurement in Markdown.
SECTIONS = {
    "import_speed": "Importing",
    "first_steps": "First steps",
    "collection_speed": "Collecting gradients",
    "store_speed": "A gradient history on disk",
    "unet_memory": "Collecting gradients of a U-Net: memory",
    "gram_speed": "The Gram matrix",
    "proof_cost": "What the proofs cost",
    "analysis_speed": "A whole analysis",
    "speed_table": "Before and now",
    "training_speed": "Training",
    "watch_overhead": "Watching a training run",
    "hessian_products": "Hessian-vector products",
    "hessian_eigenpairs": "Hessian eigenpairs",
    "thousand_eigenpairs": "Hessian eigenpairs: a thousand",
    "tail_speed": "Tail statistics: speed",
    "size_and_power": "Tail statistics: share of accepted samples, published / calibrated",
}
LONG = {"thousand_eigenpairs", "speed_table"}
HEAD = (
    "# Benchmark results\n\nMade by `make bench`. Ratios are within one run; seconds are of a shared, noisy machine.\n"
)


def main(names: list[str]) -> None:
    """Measure the sections asked for and replace them in the results."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        sys.exit(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in names or [known for known in SECTIONS if known not in LONG]:
        print(f"{SECTIONS[name]} ...", flush=True)
        module = import_module(name)
        measured = module.table()
        print(measured, flush=True)
        when = datetime.now(UTC).date().isoformat()
        _replace(SECTIONS[name], f"{_introduction(module.__doc__)}\n\n{measured}\n\n{when}, {machine.describe()}.\n")


def _introduction(doc: str) -> str:
    """A module's docstring without how to run it."""
    return doc.partition("\npython bench/")[0].strip()


def _replace(title: str, text: str) -> None:
    """Put a section into the results, in the order of ``SECTIONS``."""
    sections = _read() | {title: text}
    ordered = [known for known in SECTIONS.values() if known in sections]
    RESULTS.write_text(HEAD + "".join(f"\n## {known}\n\n{sections[known].rstrip()}\n" for known in ordered))


def _read() -> dict[str, str]:
    """The sections of earlier runs, by title."""
    if not RESULTS.exists():
        return {}
    parts = RESULTS.read_text().split("\n## ")[1:]
    return {part.partition("\n\n")[0]: part.partition("\n\n")[2] for part in parts}


if __name__ == "__main__":
    main(sys.argv[1:])
