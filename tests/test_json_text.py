"""Results as JSON: what JSON does not have, and what is none of ours."""

import json
from pathlib import Path

import numpy as np
import pytest

from gradlaw.json_text import json_text


def test_what_json_does_not_have_is_null_or_a_text():
    text = json_text({
        "nan": float("nan"), "high": np.float32("inf"), "low": -np.inf, "path": Path("a/b"), 3: (np.int64(2), None),
        "frame": [{"flag": np.bool_(True), "name": "\x1b[2J"}],
    })  # fmt: skip
    assert json.loads(text) == {
        "nan": None, "high": "infinite", "low": "-infinite", "path": "a/b", "3": [2, None],
        "frame": [{"flag": True, "name": "\x1b[2J"}],
    }  # fmt: skip
    assert "\x1b" not in text
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_text({"a": {1, 2}})
