import re
from pathlib import Path

import gradlaw as gl
from gradlaw.watch import GradientState
from gradlaw.watch.statistics import STATISTICS

PAGE = (Path(__file__).parents[2] / "docs/watch.md").read_text()


def test_the_page_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second, sources, third = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(compile(first, "docs/watch.md", "exec"), names)
    exec(compile(second, "docs/watch.md", "exec"), {})
    exec(compile(sources, "docs/watch.md", "exec"), {})
    exec(compile(third, "docs/watch.md", "exec"), names)
    log = gl.read_watch("runs/watch.jsonl")
    assert (log.steps, len(log.runs), names["watch"].step) == ([0, 10, 20], 2, 30)


def test_the_page_explains_every_column():
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    state = set(GradientState.__dataclass_fields__)
    own = {name for name in STATISTICS if not name.endswith("_error")}
    assert own | state <= explained | {"k", "degenerate"}
