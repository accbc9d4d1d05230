"""The log of a watch, read again."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, choice
from gradlaw.sealed_lines import is_sealed
from gradlaw.watch.as_json import from_json
from gradlaw.watch.log import FORMAT, parsed_line

if TYPE_CHECKING:
    import pandas as pd

MODEL = "(model)"  # the name of the row of all layers
_FORMS = ("wide", "long")


@dataclass(frozen=True, eq=False)
class WatchLog(ByValue):
    """What a watch recorded.

    Attributes:
        header: versions, settings and layers of the run that began the log.
        records: one a watched step, in their order, each with the number of the run (0 is the first) that wrote it.
            Steps that a later run did again are those of the later run alone.
        runs: by run, the step it began at and its versions.
        broken: lines that a kill cut off, as they are in the file; not read.
    """

    header: dict[str, Any]
    records: tuple[dict[str, Any], ...]
    runs: tuple[dict[str, Any], ...]
    broken: tuple[str, ...]

    @property
    def steps(self) -> list[int]:
        """The watched steps."""
        return [record["step"] for record in self.records]

    def to_frame(self, form: Literal["wide", "long"] = "wide") -> "pd.DataFrame":
        """The statistics as a table.

        Args:
            form: ``"wide"`` has a row a step and layer (and ``"(model)"``) and a column a statistic, ``"long"`` a row a
                step, layer and statistic, and leaves out what could not be computed.

        Raises:
            InputError: another form.
        """
        import pandas as pd  # loaded for those who ask for a table

        choice(form, "form", _FORMS)
        frame = pd.DataFrame(list(self._rows()))
        if form == "wide" or frame.empty:
            return frame
        keys = ["run", "step", "layer"]
        return frame.melt(keys, var_name="statistic").dropna(subset="value").reset_index(drop=True)

    def gradients(self) -> "pd.DataFrame":
        """Which gradient each watched step saw, a row a step: see :class:`~gradlaw.watch.GradientState`."""
        import pandas as pd  # loaded for those who ask for a table

        return pd.DataFrame([{"run": one["run"], "step": one["step"], **one["gradient"]} for one in self.records])

    def noise(self) -> "pd.DataFrame":
        """The noise scale, a row a watched step and layer (``"all"`` for all that were measured): estimates over the
        last measured steps, named as in :class:`~gradlaw.watch.NoiseScale`, with the reason where there is none.
        """
        import pandas as pd  # loaded for those who ask for a table

        rows = []
        for record in self.records:
            noise = dict(record.get("noise") or {})
            place = {"run": record["run"], "step": record["step"]}
            for layer, row in noise.pop("layers", {}).items():
                about = {"source": noise["source"], "refused": noise["refused"]}
                rows.append({**place, "layer": layer, **from_json(row), **about})
        return pd.DataFrame(rows)

    def window(self) -> "pd.DataFrame":
        """What the rolling window said across its steps, a row a watched step at which it was full: named as in
        :class:`~gradlaw.watch.window.WindowStatistics`; eigenvalues and overlaps are lists.
        """
        import pandas as pd  # loaded for those who ask for a table

        full = [record for record in self.records if record.get("window")]
        return pd.DataFrame([{"run": one["run"], "step": one["step"], **from_json(one["window"])} for one in full])

    def _rows(self) -> Iterator[dict[str, Any]]:
        for record in self.records:
            place = {"run": record["run"], "step": record["step"]}
            yield place | {"layer": MODEL} | record["model"]
            columns = record["layers"]
            for i, layer in enumerate(record["names"]):
                yield place | {"layer": layer} | {name: column[i] for name, column in columns.items()}

    def __str__(self) -> str:
        settings = self.header["settings"]
        text = f"{len(self.records)} watched steps of {len(self.header['layout']['layers'])} layers"
        if self.records:
            text += f", {self.records[0]['step']} to {self.records[-1]['step']}"
        text += f"; every {settings['every']} steps, {len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"
        text += f"; {len(self.broken)} lines cut off by a kill" if self.broken else ""
        return text + ("; without digests: damage would not be seen" if self.header["format"] == 1 else "")


@checked
def read_watch(path: str | PathLike[str]) -> WatchLog:
    """Read the log of :func:`gradlaw.watch`, also of a run that is still going or was killed.

    Args:
        path: of the log.

    Returns:
        The log; ``to_frame()`` makes a table of it.

    Raises:
        InputError: there is no such file, it is not a log, of a later format, or damaged other than by a kill; lines of
            format 1, of versions before digests, are read as they are.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no log at {file}")
    lines = file.read_bytes().split(b"\n")
    end = lines.pop()  # nothing, if the last line is whole
    sealed = any(map(is_sealed, lines))
    parsed = [parsed_line(line, sealed) for line in lines]
    if not parsed or parsed[0] is None or parsed[0]["kind"] != "header":
        raise InputError(f"{file} is not the log of a watch, or its first line is damaged")
    header = parsed[0]
    if header["format"] > FORMAT:
        raise InputError(f"{file} has format {header['format']}, this version reads up to {FORMAT}: update gradlaw")
    broken = [end] if end else []
    for number, (line, record) in enumerate(zip(lines, parsed, strict=True)):
        if record is None:
            following = parsed[number + 1] if number + 1 < len(parsed) else None
            if following is None or following["kind"] != "resumed" or is_sealed(line):
                raise InputError(f"line {number + 1} of {file} is damaged, and no kill explains it")
            broken.append(line)
    return _collected(
        [record for record in parsed if record is not None], [line.decode(errors="replace") for line in broken]
    )


def _collected(lines: list[dict[str, Any]], broken: list[str]) -> WatchLog:
    header, *others = lines
    names = [layer["name"] for layer in header["layout"]["layers"]]
    runs = [{"step": header["step"], "versions": header["versions"]}]
    records: list[dict[str, Any]] = []
    for line in others:
        if line["kind"] == "resumed":
            runs.append({"step": line["step"], "versions": line["versions"]})
            records = [record for record in records if record["step"] < line["step"]]
        elif line["kind"] == "layout":
            names = [layer["name"] for layer in line["layout"]["layers"]]
        elif line["kind"] == "step":
            body = {key: value for key, value in line.items() if key != "kind"}
            records.append(body | {"run": len(runs) - 1, "names": names})
    return WatchLog(header, tuple(records), tuple(runs), tuple(broken))
