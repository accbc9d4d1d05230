import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradlaw as gl

ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=30, max_size=80)


@given(text=ANY_TEXT, context=st.integers(1, 3))
def test_windows_tell_the_text_again(tmp_path_factory, text, context):
    file = tmp_path_factory.mktemp("text") / "a.txt"
    file.write_text(text, encoding="utf-8", newline="")
    boundary = int(0.9 * len(text))
    for split, part in (("train", text[:boundary]), ("test", text[boundary:])):
        if len(part) <= context:
            continue
        data = gl.load_text(file, context, split)
        assert data.inputs.shape == data.targets.shape == ((len(part) - 1) // context, context)
        read, following = ("".join(data.source.classes[i] for i in t.flatten()) for t in (data.inputs, data.targets))
        assert read == part[: len(read)]
        assert following == part[1 : 1 + len(read)]
        assert data.source.classes == tuple(sorted(set(text)))


def test_real_tiny_shakespeare(whole_shakespeare):
    data = gl.load_data(str(whole_shakespeare))
    assert data.classes == 65  # of Karpathy's char-rnn
    assert (data.sample_shape, data.inputs.dtype, data.targets.dtype) == ((64,), torch.int64, torch.int64)
    assert "".join(data.source.classes[i] for i in data.inputs[0]).startswith("First Citizen:\nBefore we proceed")
    test = gl.load_data(str(whole_shakespeare), "test")
    assert (len(data), len(test)) == (1_003_853 // 64, 111_539 // 64)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"abc", {}, "has 2 characters; a window of 64 takes 65"),
        (b"abc" * 100, {"context": 0}, "context must be at least 1"),
        (b"abc" * 100, {"split": "validation"}, "no split 'validation'; it has train, test"),
        (b"\xff\xfe" * 100, {}, "no UTF-8 text"),
        (b"", {}, "has 0 characters"),
    ],
)
def test_bad_texts(tmp_path, content, options, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(gl.InputError, match=message):
        gl.load_text(tmp_path / "a.txt", **options)


def test_what_is_no_text(tmp_path):
    with pytest.raises(gl.InputError, match="neither a text file"):
        gl.load_text("digits")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("abc" * 100)
    with pytest.raises(gl.InputError, match=r"no single text; it holds a\.txt, b\.txt"):
        gl.load_text(tmp_path)
    with pytest.raises(gl.InputError, match="no columns to choose"):
        gl.load_data(str(tmp_path / "a.txt"), label="a")
    data = gl.load_data(str(tmp_path / "a.txt"))
    assert len(gl.load_data(str(tmp_path / "a.txt"), label=data.source.label_column)) == len(data)
