"""An analysis by several ranks of ``torch.distributed``: what they share, and what one rank alone can do.

Each rank computes the gradients of a share of the iterations, then keeps all iterations of a share of the dimensions.
Tests across iterations are made where a dimension lies; for those across dimensions ranks exchange the K largest
magnitudes of an iteration and the values that the Gaussian test draws. Each forms the Gram matrix of its dimensions in
float64; the first rank computes the eigenvalues of their sum. Every rank has the whole result.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections import all_sections
from gradlaw.analysis.setting import OPTIONAL
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.ranks import RankGroup, those_asked
from gradlaw.ranks.processes import is_first

_KEY = "ranks"  # of the machine in the provenance


@contextmanager
def joined(ranks: str, asked: Collection[str], same: Mapping[str, Any]) -> Iterator[RankGroup]:
    """The ranks that make an analysis together, around all of its work.

    Args:
        ranks: ``"all"`` of an initialised process group, or ``"one"``.
        asked: the optional sections that are wanted.
        same: arguments that have to be the same on every rank, by name.

    Raises:
        InputError: a rank did not come, arguments differ between ranks, or are for one rank alone.
        RankLost: a rank has died.
    """
    group = those_asked(ranks)
    with group.alive():
        if group.size > 1:
            _refuse(group, asked, same)
        yield group


def _refuse(group: RankGroup, asked: Collection[str], same: Mapping[str, Any]) -> None:
    group.refuse_differences({**same, "sections": sorted(asked)})
    if same.get("sketch") is not None:
        raise group.common_error(
            f"sketch does not go with {group.size} ranks: one rank makes the sketches of an analysis; leave it out, so "
            "that the ranks share whole gradients, or leave the work to one rank"
        )
    for section in all_sections():
        wanted = section.name in asked or section.name not in OPTIONAL
        if wanted and not section.by_ranks:
            raise group.common_error(
                f"{section.name} does not go with {group.size} ranks: it needs a history that one process has whole, "
                "and does not say by_ranks = True; leave the work to one rank"
            )


def ranks_of(history: Any) -> dict[str, int]:
    """What the provenance says of the ranks that collected a history: nothing of one rank alone."""
    return {_KEY: history.ranks.size} if isinstance(history, ShardedHistory) else {}


def made_elsewhere(analysis: AnalysisResult) -> bool:
    """Whether another rank than this one writes an analysis, which they made together."""
    return analysis.provenance["machine"].get(_KEY, 1) > 1 and not is_first()
