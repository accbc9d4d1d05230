"""Packages that only some parts need, and what to install where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from gradlaw.errors import InputError

# As pyproject.toml has them: the packages of each extra, by the names of their modules.
_DATA = ("datasets", "huggingface_hub", "pyarrow", "PIL", "sklearn")
_TRANSFORMERS, _LIGHTNING = ("transformers",), ("lightning",)
_REPORT = ("matplotlib", "jinja2", "pyarrow")
EXTRAS = {
    "data": _DATA,
    "report": _REPORT,
    "transformers": _TRANSFORMERS,
    "lightning": _LIGHTNING,
    "xarray": ("xarray",),
    "completion": ("shtab",),
    "all": tuple(dict.fromkeys(_DATA + _REPORT)),
}
_DISTRIBUTIONS = {"pillow": "PIL", "scikit-learn": "sklearn"}  # whose versions are asked for by these names


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Imports of packages of one extra happen inside.

    Args:
        name: ``"data"``, ``"report"`` or ``"all"``.
        purpose: what they are needed for, as the subject of a sentence: ``"reading data sets"``.

    Raises:
        InputError: one of them is not installed; the message has the command that installs it. An error about any
            other module is a fault of an installation, and passes as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        module = _DISTRIBUTIONS.get(module, module)
        if module not in EXTRAS[name]:
            raise
        raise _missing(module, name, purpose) from error


def require(name: str, purpose: str) -> None:
    """Refuse to begin what would fail at its end; arguments and error as of :func:`extra`. Nothing is loaded.

    Raises:
        InputError: a package of the extra is not installed.
    """
    for module in EXTRAS[name]:
        if find_spec(module) is None:
            raise _missing(module, name, purpose)


def _missing(module: str, name: str, purpose: str) -> InputError:
    return InputError(f"{purpose} needs {module}, which is not installed: pip install 'gradlaw[{name}]'")
