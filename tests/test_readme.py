import json
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_first_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    assert len(code.strip().splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "Dimension-wise gradients" in capsys.readouterr().out
    assert (tmp_path / "runs/my-run/report.html").is_file()


def test_the_page_about_training_steps_runs_as_printed():
    page = (README.parent / "docs/training_steps.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    names = {}
    exec(compile(code, "docs/training_steps.md", "exec"), names)
    assert names["history"].shape == (200, 27)
    assert names["problem"].samples == 8


def test_the_page_about_training_has_the_accuracies_of_the_checkpoints():
    page = (README.parent / "docs/training.md").read_text()
    files = list((README.parent / "checkpoints").glob("*.json"))
    assert files
    for file in files:
        settings = json.loads(file.read_text())
        accuracies = [f"{settings[part]['accuracy']:.2%}" for part in ("training", "test")]
        assert re.search(rf"\| {file.stem} \|.*\| {accuracies[0]} \| {accuracies[1]} \|", page), file.stem
