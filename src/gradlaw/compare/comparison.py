"""A comparison that can be shown and kept."""

from dataclasses import dataclass
from pathlib import Path

from gradlaw.atomic import write_whole
from gradlaw.compare.result import TABLES, ComparisonResult
from gradlaw.compare.text import as_text, notes_table, tables
from gradlaw.extras import extra


@dataclass(frozen=True, eq=False)
class Comparison(ComparisonResult):
    """What :func:`gradlaw.compare` found; ``str`` is the table for a terminal of 80 columns.

    Attributes and tables are those of :class:`gradlaw.compare.result.ComparisonResult`.
    """

    def save(self, directory: str | Path) -> None:
        """Write every table as CSV, everything as ``comparison.json``, figures (PNG and SVG) and ``comparison.html``.

        Args:
            directory: is made if it is not there; files of these names are replaced.

        Raises:
            InputError: the disk is full, or what draws figures is not installed.
        """
        with extra("report", "saving a comparison"):
            from gradlaw.compare.figures import figure_files  # loads matplotlib
            from gradlaw.report.write import write_comparison
        folder = Path(directory)
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            table = getattr(self, name)
            write_whole(folder / f"{name}.csv", table.to_csv(index=name in ("settings", "values", "spectra")))
        write_whole(folder / "comparison.json", self.to_json())
        for name, content in figure_files(self).items():
            write_whole(folder / "figures" / name, content)
        write_comparison(self.runs, folder / "comparison.html", [*tables(self), notes_table(self)])

    def __repr__(self) -> str:
        tested = self.differences["p_holm"].dropna()
        significant = int((tested < 0.05).sum())
        return f"Comparison({', '.join(self.groups)}; {significant} of {len(tested)} differences significant)"

    def __str__(self) -> str:
        return as_text(self)
