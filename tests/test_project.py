"""What the repository says of itself agrees."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert (citation["license"], citation["keywords"]) == (PROJECT["license"], PROJECT["keywords"])
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Xie", "Tang", "Sun", "Li"]


def test_workflows_run_commands_that_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pythons = set()
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            commands = [step["run"] for step in job["steps"] if "run" in step]
            assert set(re.findall(r"^make ([a-z]+)$", "\n".join(commands), re.MULTILINE)) <= targets
            pythons |= {row["python"] for row in job.get("strategy", {}).get("matrix", {}).get("include", ())}
    assert min(pythons, key=lambda version: tuple(map(int, version.split(".")))) == PROJECT["requires-python"][2:]


def test_pinned_versions_are_inside_the_ranges():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    extras = PROJECT["optional-dependencies"]
    requirements = [*PROJECT["dependencies"], *(r for name in ("data", "report", "test", "dev") for r in extras[name])]
    for requirement in requirements:
        name, operator, bound = re.fullmatch(r"([\w-]+)(?:\[.*\])?(?:(>=|==)(.+))?", requirement).groups()
        if name == "gradlaw":
            continue
        version, lowest = (tuple(map(int, v.split(".")[:3])) for v in (pinned[name], bound or "0"))
        assert version == lowest if operator == "==" else version >= lowest, requirement
