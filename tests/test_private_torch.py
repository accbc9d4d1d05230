"""Private names of PyTorch change between its versions: one file has them all."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradlaw

ROOT = Path(gradlaw.__file__).parent


# Of modules and operations of PyTorch, whatever the variable they are reached by.
ATTRIBUTES = {"_conv_forward", "_reversed_padding_repeated_twice", "_qkv_same_embed_dim", "_overloadpacket", "_schema"}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_names(tree: ast.AST) -> Iterator[str]:
    """Imports out of torch, and dotted names that start with it or with its aten operations."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            if parts[0] not in ("torch", "aten", "F", "nn") and node.attr not in ATTRIBUTES:
                continue
        elif isinstance(node, ast.Import):
            parts = [part for alias in node.names if alias.name.startswith("torch") for part in alias.name.split(".")]
        else:
            continue
        if all(map(str.isidentifier, parts)) and any(map(_is_private, parts)):
            yield f"line {node.lineno}: {'.'.join(parts)}"


@pytest.mark.parametrize(
    "text", ["import torch._C", "from torch.utils import _pytree", "torch._foreach_add", "nn.a._B", "l._schema"]
)
def test_private_names_are_seen(text):
    assert len(list(_private_names(ast.parse(text)))) == 1


def test_one_file_alone_names_private_pytorch():
    found = {
        str(path.relative_to(ROOT)): names
        for path in ROOT.rglob("*.py")
        if (names := list(_private_names(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found.pop("_torch.py")
    assert found == {}
