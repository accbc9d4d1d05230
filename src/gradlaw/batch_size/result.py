"""The critical batch size as a result: data, a table, a DataFrame."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradlaw.batch_size.by_layer import LAYER, MODEL, TYPE, scale_of
from gradlaw.batch_size.cautions import Caution, Training
from gradlaw.batch_size.methods import HISTORY, MethodEstimate
from gradlaw.batch_size.scale import ScaleEstimate
from gradlaw.by_value import ByValue
from gradlaw.json_text import json_text
from gradlaw.output_files import write_output
from gradlaw.report.formatting import percent
from gradlaw.report.text_table import WIDTH, text_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CriticalBatchSize(ByValue):
    """The gradient noise scale of a model and its layers as an estimate of the critical batch size.

    Attributes:
        model: its name.
        unit: what batch sizes count: ``"samples"``, or ``"batches"`` of a step.
        batch_size, iterations: B and T of the gradients that were measured.
        level: of all intervals.
        layers: one row for the model, each layer and each type of layer; see
            :func:`gradlaw.batch_size.by_layer.noise_by_layer`.
        methods: what each method gives for the whole model.
        best_rate: learning rate that lowers a quadratic loss most with the full gradient; None where there is none.
        training: what is known of the training.
        cautions: reasons not to trust all this, those that apply first.
    """

    model: str
    unit: str
    batch_size: int
    iterations: int
    level: float
    layers: "pd.DataFrame"
    methods: tuple[MethodEstimate, ...]
    best_rate: float | None
    training: Training
    cautions: tuple[Caution, ...]

    @property
    def noise_scale(self) -> ScaleEstimate | None:
        """Of the whole model, from all iterations; None where the gradients do not vary above rounding."""
        return next(m.noise_scale for m in self.methods if m.method == HISTORY)

    def to_frame(self) -> "pd.DataFrame":
        """The layers, and below them one row for each method, in the group ``"method"``."""
        import pandas as pd  # loaded for those who ask for a table

        rows = {
            ("method", m.method): {} if m.noise_scale is None else {
                "noise_scale": m.noise_scale.value, "low": m.noise_scale.low, "high": m.noise_scale.high,
                "error": m.noise_scale.standard_error}
            for m in self.methods
        }  # fmt: skip
        index = pd.MultiIndex.from_tuples(rows, names=self.layers.index.names)
        methods = pd.DataFrame(list(rows.values()), index=index, columns=self.layers.columns).astype(float)
        return pd.concat([self.layers.astype(float), methods])

    def save(self, directory: str | Path) -> None:
        """Write ``batch_size.csv``, the table of :meth:`to_frame`, and ``batch_size.json``, everything; a manifest
        beside has their digests.

        Args:
            directory: is made if it is not there; files of these names are replaced.

        Raises:
            InputError: the disk is full.
        """
        files = {"batch_size.csv": self.to_frame().to_csv(), "batch_size.json": self.to_json()}
        write_output(Path(directory), "batch_size", files)

    def to_json(self) -> str:
        """Everything as JSON; infinite values as the text ``"infinite"``, missing ones as null."""
        record = {
            "model": self.model, "unit": self.unit, "batch_size": self.batch_size, "iterations": self.iterations,
            "level": self.level, "best_rate": self.best_rate, "training": vars(self.training),
            "methods": [{**vars(m), "noise_scale": m.noise_scale and vars(m.noise_scale)} for m in self.methods],
            "layers": self.layers.reset_index().to_dict("records"),
            "cautions": [vars(c) for c in self.cautions],
        }  # fmt: skip
        return json_text(record)

    def __repr__(self) -> str:
        scale = self.noise_scale
        value = "no noise scale" if scale is None else f"noise scale {in_words(scale)} {self.unit}"
        applying = sum(caution.applies is True for caution in self.cautions)
        return f"CriticalBatchSize({self.model}, {value}, {applying} cautions)"

    def __str__(self) -> str:
        title = f"{self.model}: critical batch size, in {self.unit}"
        parts = [f"{title}\n{_headline(self)}", self._methods(), self._layers(), self._use(), self._cautions()]
        return "\n\n".join(part for part in parts if part)

    def _methods(self) -> str:
        header = ("method", "noise scale", f"{self.level:.0%} interval")
        rows = [(m.method, *_cells(m.noise_scale)) for m in self.methods]
        told = [f"{m.method}: {m.reason}." for m in self.methods]
        return text_table("By method", header, rows) + "\n" + "\n".join(map(_filled, told))

    def _layers(self) -> str:
        total = self.layers.loc[(MODEL, "all"), "noise"]
        rows = []
        for group in (LAYER, TYPE):
            frame = self.layers[self.layers.index.get_level_values("group") == group]
            if group == TYPE and len(frame) < 2:
                continue
            for (_, name), row in frame.iterrows():
                scale = scale_of(row)
                share = "-" if scale is None else percent(row["noise"] / total)
                rows.append(
                    (name if group == LAYER else f"all {name}", f"{int(row['dimensions']):,}", share, *_cells(scale))
                )
        header = ("layer", "parameters", "share of noise", "noise scale", f"{self.level:.0%} interval")
        return text_table("By layer", header, rows)

    def _use(self) -> str:
        """What the batch size in use buys (McCandlish et al. 2018, Eq. 2.11 and 2.12)."""
        scale, used = self.noise_scale, self.training.batch_size
        if used is None or scale is None:
            return ""
        if math.isinf(scale.value):
            return _filled(f"In use: {used:,}. Whether that is below the critical batch size cannot be said, but "
                           f"anything below {scale.low:,.0f} is." if math.isfinite(scale.low) else
                           f"In use: {used:,}, which cannot be compared without a signal.")  # fmt: skip
        ratio = used / scale.value
        return _filled(
            f"In use: {used:,}, which is {ratio:.2g} times the noise scale. Each step makes {ratio / (1 + ratio):.0%} "
            f"of the progress of a step with the full gradient, and training takes {1 + ratio:.2g} times the fewest "
            f"{self.unit} that suffice, if learning rates are the best for each batch size."
        )

    def _cautions(self) -> str:
        kinds = {True: "Not to be trusted because", None: "Not known", False: "Checked"}
        lines = []
        for kind, head in kinds.items():
            found = [f"{c.name}: {c.text}." for c in self.cautions if c.applies is kind]
            lines += [
                head,
                *(textwrap.fill(t, WIDTH, initial_indent="- ", subsequent_indent="  ") for t in found),
            ] * bool(found)
        return "\n".join(lines)


def in_words(scale: ScaleEstimate) -> str:
    """The value with its interval."""
    value, interval = _cells(scale)
    return f"{value} ({interval})"


def _headline(result: CriticalBatchSize) -> str:
    scale = result.noise_scale
    if scale is None:
        return _filled("The gradients do not vary above rounding: any batch size gives the same gradient.")
    return _filled(
        f"About {in_words(scale)}, from {result.iterations:,} minibatches of {result.batch_size:,} at fixed "
        f"parameters. Larger batches than this stop paying: they cost more {result.unit} than they save steps."
    )


def _cells(scale: ScaleEstimate | None) -> tuple[str, str]:
    if scale is None:
        return "-", "-"
    return _shown(scale.value), f"{_shown(scale.low)} to {_shown(scale.high)}"


def _shown(value: float) -> str:
    return "infinite" if math.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH)
