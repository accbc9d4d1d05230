"""Whatever stands in a file or an option, what reads it returns or says in its own words what is wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsers import PARSERS, read

SLOW = ("record of a run", "table of a run")


@st.composite
def changed(draw: st.DrawFn, example: bytes) -> bytes:
    """An example with some of it replaced, left out, put in or doubled."""
    content = example
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        inserted = draw(st.binary(max_size=12) | st.sampled_from(
            [b"", b"null", b"NaN", b"-1", b"1e999", b'"', b"{}", b"[]", b"\0", b"9" * 30, b"\n", content[start:end] * 2]
        ))  # fmt: skip
        content = content[:start] + inserted + content[end:]
    return content


@pytest.mark.parametrize("name", PARSERS)
def test_examples_are_taken_or_refused_in_our_words(name, tmp_path):
    for example in (*PARSERS[name].examples, b"", b"\0", b"{", b"null", b"[" * 100_000, b"\xff\xfe", b"1" * 5000):
        read(PARSERS[name], example, tmp_path / "place")


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_our_errors(name, tmp_path):
    parser = PARSERS[name]

    @settings(
        max_examples=15 if name in SLOW else 60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(content=st.binary(max_size=60) | st.one_of([changed(example) for example in parser.examples]))
    def whatever(content: bytes) -> None:
        read(parser, content, tmp_path / "place")

    whatever()
