"""A test that is left out for a reason that nobody expects fails."""

from pathlib import Path

pytest_plugins = ["pytester"]


def test_unexpected_skips_fail(pytester):
    hook = Path(__file__).with_name("conftest.py").read_text()
    expected, function = hook.index("EXPECTED_SKIPS = ("), hook.index("@pytest.fixture")
    pytester.makeconftest("import pytest\n" + hook[expected:function])
    pytester.makepyfile(
        """
        import pytest

        def test_expected():
            pytest.skip("needs a CUDA device")

        @pytest.mark.skipif(True, reason="needs a CUDA device")
        def test_expected_mark():
            pass

        def test_unexpected():
            pytest.skip("it is late")

        @pytest.mark.skipif(True, reason="it is late")
        def test_unexpected_mark():
            pass

        def test_missing():
            pytest.importorskip("no_such_module")

        def test_passes():
            pass
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, skipped=2, failed=2, errors=1)
    result.stdout.fnmatch_lines(["*conftest.py does not expect: Skipped: it is late*"])
