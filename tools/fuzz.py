"""Fuzz everything that reads a file or an option, guided by the lines that are reached (atheris).

    pip install atheris                          # Linux and macOS; not among the dependencies
    PYTHONPATH=src:tests python tools/fuzz.py "log of a watch" [-max_total_time=60]
    PYTHONPATH=src:tests python tools/fuzz.py    # names them

What is neither taken nor refused in words of ours (InputError) ends it with a traceback and the content that did it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gradlaw"]):
    from parsers import PARSERS, read


def main() -> None:
    """Fuzz one parser from its examples."""
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit("\n".join(PARSERS))
    parser = PARSERS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory(prefix="gradlaw-fuzz-") as place:
        examples = Path(place) / "examples"
        examples.mkdir()
        for number, example in enumerate(parser.examples):
            (examples / str(number)).write_bytes(example)
        atheris.Setup([*sys.argv, str(examples)], lambda content: read(parser, content, Path(place) / "place"))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
