"""Imports go one way: no circle, and no arrow against the order of the rooms."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gradlaw

ROOT = Path(gradlaw.__file__).parent
# From the bottom to the top; what stands on one line may not import one another. Files of the root that are not named
# here are the basics, which stand below all of them.
ORDER = (
    ("ranks",),
    ("stats",),
    ("problem", "minibatches"),
    ("history",),
    ("spectra",),
    ("watch",),
    ("integrations",),
    ("curvature",),
    ("dynamics",),
    ("analysis",),
    ("report",),
    ("analyze",),
    ("same_run",),
    ("batch_size",),
    ("data",),
    ("zoo",),
    ("training",),
    ("analyze_checkpoints",),
    ("compare",),
    ("reproduction",),
    ("verify",),
    ("cli",),
    ("gradlaw", "__main__"),
)
# The reproduction asks the package where its folder is, and takes no name from it.
EXCEPTIONS = {("reproduction", "gradlaw")}
LEVEL = {room: level for level, rooms in enumerate(ORDER, start=1) for room in rooms}


def imports_of(root: Path) -> dict[str, set[str]]:
    """By module of the package at ``root``: the modules of it that it imports, inside functions and for types too."""
    files = {".".join((root.name, *path.relative_to(root).with_suffix("").parts)): path for path in root.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {name: set(_imports(name, path, modules)) - {name} for name, path in modules.items()}


def _imports(importer: str, path: Path, modules: dict[str, Path]) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer} has a relative import, which this test does not follow"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in modules else str(node.module) for name in names]
    # ``import a.b`` runs ``a`` too, but a package that gathers the names of its modules is in no circle with them.
    return [name for name in found if name in modules]


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def level_of(module: str) -> int:
    return LEVEL.get(room_of(module), 0)


def upward(imports: dict[str, set[str]]) -> list[str]:
    """Every import of a room by one that does not stand above it."""
    arrows = [(importer, imported) for importer, found in imports.items() for imported in found]
    return sorted(
        f"{importer} imports {imported}"
        for importer, imported in arrows
        if room_of(importer) != room_of(imported)
        and level_of(importer) <= level_of(imported)
        and (level_of(importer), level_of(imported)) != (0, 0)
        and (room_of(importer), room_of(imported)) not in EXCEPTIONS
    )


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    return imports_of(ROOT)


def test_every_room_of_the_order_exists(imports):
    assert set(LEVEL) <= {room_of(module) for module in imports}
    assert sum(map(len, imports.values())) > 500


def test_there_is_no_circle(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_arrow_points_against_the_order(imports):
    assert upward(imports) == []


def test_the_test_sees_imports_wherever_they_stand(tmp_path):
    root = tmp_path / "gradlaw"
    (root / "stats").mkdir(parents=True)
    (root / "stats/__init__.py").write_text("")
    (root / "stats/low.py").write_text("def f():\n    from gradlaw import problem\n")
    (root / "problem.py").write_text("if TYPE_CHECKING:\n    import gradlaw.stats.low\n")
    (root / "errors.py").write_text("from gradlaw.problem import Problem\n")
    found = imports_of(root)
    assert found["gradlaw.stats.low"] == {"gradlaw.problem"}
    assert found["gradlaw.problem"] == {"gradlaw.stats.low"}
    assert upward(found) == ["gradlaw.errors imports gradlaw.problem", "gradlaw.stats.low imports gradlaw.problem"]
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()
