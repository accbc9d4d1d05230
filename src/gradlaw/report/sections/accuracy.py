"""How often the network is right; in words it stands at the top of page and terminal."""

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections.accuracy import Accuracy
from gradlaw.report.section import ShownSection, Table, register


@register
class ShownAccuracy(ShownSection):
    name, heading = "accuracy", "Accuracy"
    place, folded = 40, True

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        found: Accuracy = analysis.sections[self.name]
        cells = (f"{found.rate:.1%}", f"{found.standard_error:.1%}", f"{found.samples:,}", str(found.classes))
        return [Table("Accuracy", ("accuracy", "standard error", "samples", "classes"), [cells])]
