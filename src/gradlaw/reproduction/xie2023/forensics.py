"""What the page on the published numbers says of this paper alone."""

from gradlaw.report.formatting import number
from gradlaw.reproduction.forensics import Forensics, Inquiry, outcome_words
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import spread
from gradlaw.reproduction.paper import TESTS
from gradlaw.reproduction.printed_counts import share_of_counts
from gradlaw.reproduction.twins import twins
from gradlaw.reproduction.xie2023.hessians import hessian_section
from gradlaw.reproduction.xie2023.paper import PAPER, printed

# Parameters of LeNet on MNIST, whose images are 28x28.
SIZES = {"LeNet without padding": 44_426, "LeNet padded by 2": 61_706}
_EXPONENT, _IDENTICAL = (7, 12), 8
_ITERATION = "iteration"
_TWINS = 0.05  # chance below which a pair is shown

_GAP_WORDS = (
    "The two exponents of the pretrained LeNet do not belong to one spectrum, of whichever network. By itself, "
    "5.111 would be that of gaps between eigenvalues that fall with an exponent of about 4, outside the range of "
    "random networks above and inside that of trained ones; 1.302 lies inside the range of random ones. So the two "
    "tables do not describe one history. Which of them shows the pretrained network the numbers do not say; the "
    "place of 5.111 among the seeds of the trained LeNet is in row 1 of Table 3 below."
)
_COUNT_WORDS = (
    "The rates are the iteration-wise ones on MNIST of Tables 1 and 4 whose digits are fine enough for a number "
    "not to be a count. That a rate is one says little where nearly every number would be; that it is none says "
    "much there. All this takes each rate for a share of all parameters of one network; a mean over runs, or a "
    "share of some of them, would print other digits."
)


def _rates() -> dict[str, str]:
    """Printed iteration-wise power-law rates on MNIST that can fail to be a count, once each experiment."""
    found: dict[str, str] = {}
    for table in (1, 4):
        for number_, line in enumerate(printed(table), 1):
            if line["axis"] != "Iteration" or line.get("dataset", "MNIST") != "MNIST":
                continue
            batch = line.get("batch_size", "100")
            name = f"{line['training']}, B = {batch} (table{table} row {number_})"
            known = any(other.startswith(f"{line['training']}, B = {batch} ") for other in found)
            if not known and share_of_counts(line["power_law_rate"], min(SIZES.values())) < 1:
                found[name] = line["power_law_rate"]
    return found


def _oddities(inquiry: Inquiry) -> str:
    return "\n".join((_one_exponent(inquiry), _identical(inquiry), _distances(inquiry)))


def _one_exponent(inquiry: Inquiry) -> str:
    table, row = _EXPONENT
    line = PAPER.published[table][row - 1]
    words = outcome_words(inquiry, table, row)
    place = f" Here: {words}." if words else ""
    return (
        f"**s = {line['s']} in Table {table}, row {row}.**{place} A spectrum with this exponent falls by 34 decades "
        "over the 1,000 eigenvalues that are fitted, and double precision resolves 16. With a digit less, 1.1442 "
        "or 1.442, it would lie among its neighbours, but that is a guess, and the row is compared as it was "
        "printed.\n"
    )


def _identical(inquiry: Inquiry) -> str:
    """Rows of Table 8 that repeat one another, and pairs of pretrained and random that are too near."""
    remarks = [f"- row {row}: {words}" for (table, row), words in PAPER.errata.items() if table == _IDENTICAL]
    pairs = twins(PAPER, inquiry.seeds, inquiry.found.selection.tables)
    near = [pair for pair in pairs if pair.chance < _TWINS]
    rows = [(pair.pretrained.name, pair.random.name, ", ".join(f"{q} {d:.2f}" for q, d in pair.distances.items()),
             f"{pair.chance:.2g}") for pair in near]  # fmt: skip
    header = ("pretrained", "random", "apart, in standard deviations between two seeds", "chance")
    return (
        f"**Identical rows in Table {_IDENTICAL}.**\n\n" + "\n".join(remarks) + "\n\nA width of 70 is the default, "
        "so that rows 4 and 7 may be rows 1 and 2 once more. Whether a pretrained and a random network are printed "
        "nearer to one another than two seeds of the same random network are is a question of the spread over "
        f"seeds: of {len(pairs)} pairs with spectra, {len(near)} are so near that two seeds would be only one time "
        f"in {1 / _TWINS:.0f} or less, and {len(pairs) * _TWINS:.1f} would be by "
        f"chance.\n\n{markdown(header, rows) if rows else ''}"
    )


def _distances(inquiry: Inquiry) -> str:
    """Iteration-wise mean distances with and without degenerate series."""
    rows = []
    for table in inquiry.found.selection.tables:
        for row in table.rows if table.kind == TESTS else ():
            tests = [r.record["tests"][_ITERATION] for r in inquiry.found.evidence.results(row.experiment)]
            if row.quantity == _ITERATION and tests:
                line = PAPER.published[row.table][row.number - 1]
                columns = [spread([t[name] for t in tests]) for name in ("mean_d_ks_all", "mean_d_ks")]
                rows.append((row.name, str(row.experiment), number(line["mean_d_ks"]), *columns,
                             spread([t["degenerate"] for t in tests], True)))  # fmt: skip
    header = ("row", "measured", "published", "all series", "without degenerate ones", "degenerate")
    return (
        "**Iteration-wise mean distances.** Series of a parameter whose gradient is zero at most iterations have "
        "no fit. At random on MNIST the published means lie among ours if such series are counted with the "
        "distance that a degenerate fit has, and above ours if they are not. Those of CIFAR-10 lie above both, "
        f"those of ResNet18 below both, for which there is no reading here:\n\n{markdown(header, rows)}"
    )


def _hessians(inquiry: Inquiry) -> str:
    return hessian_section(inquiry.found.evidence)


FORENSICS = Forensics(
    2, 3, _GAP_WORDS, _rates(), SIZES, _COUNT_WORDS, _oddities, {"Hessian spectra of a later paper": _hessians}
)
