"""A comparison that can be shown and kept."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gradlaw.compare.result import TABLES, ComparisonResult
from gradlaw.compare.text import as_text, notes_table, tables
from gradlaw.extras import extra
from gradlaw.output_files import Content, write_output


@dataclass(frozen=True, eq=False)
class Comparison(ComparisonResult):
    """What :func:`gradlaw.compare` found; ``str`` is the table for a terminal of 80 columns.

    Attributes and tables are those of :class:`gradlaw.compare.result.ComparisonResult`.
    """

    def save(self, directory: str | Path) -> None:
        """Write every table as CSV, everything as ``comparison.json``, figures (PNG and SVG) and ``comparison.html``; a
        manifest beside them has their digests.

        Args:
            directory: is made if it is not there; files of these names are replaced.

        Raises:
            InputError: the disk is full, or what draws figures is not installed.
        """
        with extra("report", "saving a comparison"):
            from gradlaw.compare.figures import figure_files  # loads matplotlib
            from gradlaw.report.write import write_comparison
        files: dict[str, Content] = {
            f"{name}.csv": getattr(self, name).to_csv(index=name in ("settings", "values", "spectra"))
            for name in TABLES
        }
        files["comparison.json"] = self.to_json()
        files |= {f"figures/{name}": content for name, content in figure_files(self).items()}
        files["comparison.html"] = partial(write_comparison, self.runs, tables=[*tables(self), notes_table(self)])
        write_output(Path(directory), "comparison", files)

    def __repr__(self) -> str:
        tested = self.differences["p_holm"].dropna()
        significant = int((tested < 0.05).sum())
        return f"Comparison({', '.join(self.groups)}; {significant} of {len(tested)} differences significant)"

    def __str__(self) -> str:
        return as_text(self)
