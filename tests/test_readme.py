import json
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_is_short_and_its_example_has_ten_lines():
    text = README.read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line]) <= 10
    assert len(text.splitlines()) < 100


def test_the_page_about_training_has_the_accuracies_of_the_checkpoints():
    page = (README.parent / "docs/training.md").read_text()
    files = list((README.parent / "checkpoints").glob("*.json"))
    assert files
    for file in files:
        settings = json.loads(file.read_text())
        accuracies = [f"{settings[part]['accuracy']:.2%}" for part in ("training", "test")]
        assert re.search(rf"\| {file.stem} \|.*\| {accuracies[0]} \| {accuracies[1]} \|", page), file.stem
