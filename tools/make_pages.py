"""The pages of the documentation that are made of the code: the glossary, and the names of the API.

python tools/make_pages.py     # writes docs/glossary.md and docs/api/
"""

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import gradlaw
from gradlaw.report.glossary import TERMS, Term

DOCS = Path(__file__).parents[1] / "docs"
# The public submodules, and those that the guides use by name.
MODULES = {
    "gradlaw": "The names of the package: most need no other.",
    "gradlaw.history": "Collecting gradients, and what optimisers make of them.",
    "gradlaw.stats": "Tests and fits of numbers; needs no model.",
    "gradlaw.spectra": "Spectra of gradients, eigenvectors, noise, controls.",
    "gradlaw.curvature": "Hessian, Gauss-Newton and Fisher; eigenpairs and density.",
    "gradlaw.dynamics": "What spectra mean for training: stability, leading subspaces, how unlike the blocks are.",
    "gradlaw.watch": "Gradients of a run while it trains.",
    "gradlaw.data": "Data sets by name, and from arrays.",
    "gradlaw.zoo": "The models of the paper, and a GPT.",
    "gradlaw.training": "Training by a recipe, resumable to the bit.",
    "gradlaw.integrations.transformers": "Problems and watches of Hugging Face's models and Trainer.",
    "gradlaw.integrations.lightning": "Problems and watches of Lightning.",
}

_LAZY = {f"gradlaw.integrations.{name}": ("WatchCallback",) for name in ("transformers", "lightning")}


def pages() -> dict[Path, str]:
    """Every page that is made here, by its path below ``docs``."""
    made = {Path("glossary.md"): _glossary(), Path("api/index.md"): _index()}
    return made | {Path(f"api/{name}.md"): _module(name, text) for name, text in MODULES.items()}


def _glossary() -> str:
    rows = "\n".join(f"| {_cell(t.name)} | {_cell(t.elsewhere)} |" for t in TERMS if t.elsewhere)
    return (
        f"""# Glossary

The terms of the page and of these guides: what each is, where it comes from, and when not to trust it.

## The paper's words, and everybody else's

| here, after the paper | elsewhere |
|---|---|
{rows}

## Terms

{"".join(map(_entry, TERMS))}""".rstrip()
        + "\n"
    )


def _entry(term: Term) -> str:
    also = f" (also: {', '.join(term.also)})" if term.also else ""
    caveat = f" *{term.caveat}*" if term.caveat else ""
    source = f" Source: {term.source}." if term.source else ""
    return f"**{term.name}**{also}: {term.meaning}{source}{caveat}\n\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _index() -> str:
    rows = "\n".join(f"| [`{name}`]({name}.md) | {text} |" for name, text in MODULES.items())
    names = "\n".join(MODULES)
    return f"""# API

Of the code's own docstrings. `import gradlaw as gl` loads nothing heavy; names load where they are used.

| module | holds |
|---|---|
{rows}

```{{toctree}}
:hidden:

{names}
```
"""


def _module(name: str, text: str) -> str:
    module = import_module(name)
    parts = [f".. {_directive(member)}:: {name}.{own}\n" for own, member in _members(module)]
    return f"# {name}\n\n{text}\n\n```{{eval-rst}}\n{chr(10).join(parts)}```\n"


def _members(module: ModuleType) -> list[tuple[str, object]]:
    """The names that a page of the module has: modules have pages of their own, names of the package are there."""
    named = getattr(module, "__all__", None) or [
        name for name, member in vars(module).items()
        if not name.startswith("_") and str(getattr(member, "__module__", "")).startswith(module.__name__)
    ]  # fmt: skip
    named = [*named, *_LAZY.get(module.__name__, ())]
    found = [(name, getattr(module, name)) for name in sorted(named)]
    of_package = {id(getattr(gradlaw, name)) for name in gradlaw.__all__} if module is not gradlaw else set()
    return [(name, m) for name, m in found if _is_documented(m) and id(m) not in of_package]


def _is_documented(member: object) -> bool:
    """Whether a docstring of its own tells what it is; constants have that of their type."""
    return not isinstance(member, ModuleType) and (inspect.isclass(member) or inspect.isroutine(member))


def _directive(member: object) -> str:
    if not inspect.isclass(member):
        return "autofunction"
    return "autoexception" if issubclass(member, BaseException) else "autoclass"


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text)


if __name__ == "__main__":
    main()
