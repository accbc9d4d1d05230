"""Everything that reads a file or a text of an option: given anything, it returns or says what is wrong.

For tests/test_parsers.py and tools/fuzz.py.
"""

import argparse
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

import gradlaw as gl
from gradlaw.cli.options import values
from gradlaw.curvature.eigensolver.checkpoint import SolverState
from gradlaw.data import parse_label_noise
from gradlaw.history.stores.unfinished import UNFINISHED, Unfinished
from gradlaw.history.stores.zarr_store import read_record as read_store
from gradlaw.history.transform_text import parse_transform
from gradlaw.manifest import MANIFEST, read_manifest
from gradlaw.reproduction.along.rows import read_rows
from gradlaw.reproduction.results import TABLE, ResultTable
from gradlaw.sealed_json import as_text, parse, sealed
from gradlaw.sealed_lines import sealed_line
from gradlaw.training.record import read_record
from gradlaw.training.weights import read_weights

REFUSED = (gl.InputError, argparse.ArgumentTypeError)
_RUN = Path(__file__).with_name("saved") / "format-2"


@dataclass(frozen=True)
class Parser:
    """What reads.

    Attributes:
        read: is given the content and a folder that it may write to.
        examples: what it takes, to be changed.
    """

    read: Callable[[bytes, Path], object]
    examples: tuple[bytes, ...]


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def of_content(content: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return of_content


def _text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    return lambda content, folder: read(content.decode("utf-8", "surrogateescape"))


def _run(name: str) -> Callable[[bytes, Path], object]:
    """A run of an earlier version, which has no digests, with one file of it changed."""

    def of_content(content: bytes, folder: Path) -> object:
        shutil.copytree(_RUN, folder, dirs_exist_ok=True)
        (folder / name).write_bytes(content)
        return str(gl.Analysis.load(folder))

    return of_content


def _saved(what: dict[str, object]) -> bytes:
    content = io.BytesIO()
    torch.save(what, content)
    return content.getvalue()


_WEIGHTS = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
_HEADER = {"kind": "header", "format": 2, "step": 0, "versions": {}, "settings": {"every": 1}, "layout": {"layers": []}}
_LOG = b"".join(map(sealed_line, (_HEADER, {"kind": "resumed", "step": 3, "versions": {}})))
_OLD_LOG = json.dumps(_HEADER | {"format": 1}).encode() + b"\n"
_STORE = json.dumps({"attributes": {"gradlaw": {"notices": []}, "digests": {"record": ""}}, "node_type": "group"})
_LISTED = as_text(sealed({"format": 1, "files": {"a": {"bytes": 3, "sha256": "0" * 64}}})).encode()
_RECORD = json.dumps({"format": 1, "weights_sha256": "", "epoch": 3, "data": {}, "model": {}}).encode()
_TABLE = b"key,measurement.seed,profile.k,reason\n0123,1,2,lost\n"

PARSERS: dict[str, Parser] = {
    "JSON": Parser(lambda content, folder: parse(content, Path("file"), "again"), (b'{"a": [1, 2.5, null]}',)),
    "manifest": Parser(_file(MANIFEST, lambda path: read_manifest(path.parent, "again")), (_LISTED,)),
    "log of a watch": Parser(
        _file("log", lambda path: str(gl.read_watch(path))), (_LOG, b'{"kind":"header","format":1}\n')
    ),
    "record of a checkpoint": Parser(_file("a.json", read_record), (_RECORD,)),
    "safetensors": Parser(_file("a.safetensors", read_weights), (safetensors.torch.save(_WEIGHTS),)),
    "torch.save": Parser(_file("a.pt", read_weights), (_saved(_WEIGHTS), _saved({"model": _WEIGHTS, "epoch": 3}))),
    "record of a store": Parser(_file("zarr.json", lambda path: read_store(path.parent)), (_STORE.encode(),)),
    "note of a collection": Parser(_file(UNFINISHED, lambda path: Unfinished(path.parent, {}).read()), (b"a" * 40,)),
    "state of a solver": Parser(_file("state.npz", lambda path: SolverState(path.parent, {}, 1.0)), (b"a" * 40,)),
    "results": Parser(_file(TABLE, lambda path: ResultTable(path.parent, series=False)), (_TABLE,)),
    "rows along training": Parser(_file("rows.csv", read_rows), (b"network,optimiser,seed,epoch\na,sgd,0,1\n",)),
    "record of a run": Parser(_run("analysis.json"), ((_RUN / "analysis.json").read_bytes(),)),
    "table of a run": Parser(_run("eigenvalues.parquet"), ((_RUN / "eigenvalues.parquet").read_bytes(),)),
    "transform": Parser(
        _text(parse_transform), (b"clip-norm=1.0,norm_type=2", b"adam=0.9,0.999,eps=1e-6", b"momentum")
    ),
    "label noise": Parser(_text(parse_label_noise), (b"symmetric=0.4", b"random")),
    "size of images": Parser(_text(values.image_size), (b"32x28", b"7")),
    "names": Parser(_text(values.names), (b"a,b", b"f0 , f1")),
    "numbers": Parser(_text(values.numbers), (b"0,0.1,5e-1", b"")),
    "whole numbers": Parser(_text(values.whole_numbers(1)), (b"1,20", b"")),
    "seed": Parser(_text(values.seed), (b"0", b"18446744073709551615")),
}


def read(parser: Parser, content: bytes, folder: Path) -> bool:
    """Whether the content was taken, in a folder that is emptied first; an error that is none of ours passes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        parser.read(content, folder)
    except REFUSED:
        return False
    return True
