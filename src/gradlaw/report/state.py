"""What is known of the network that was analysed: what it is, and whether it has learnt anything."""

import math

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections.accuracy import Accuracy

UNTRAINED, TRAINED = 0.9, 0.5  # of the loss of guessing


def state_of(analysis: AnalysisResult) -> str:
    """Whether the network is at chance or trained, from its mean loss against that of guessing among the classes.

    Cross-entropy alone has a loss of guessing, ln C. Of other losses only the mean is said.
    """
    loss = float(analysis.losses.mean())
    accuracy = accuracy_in_words(analysis.sections.get("accuracy"))
    over = f"Mean loss over the minibatches: {loss:.3g}"
    if analysis.provenance["problem"]["loss"] != "cross_entropy" or not analysis.classes or analysis.classes < 2:
        return f"{over}. Whether the network is trained is not recorded. {accuracy}"
    guessing = math.log(analysis.classes)
    against = f"{over}; guessing among {analysis.classes} classes gives {guessing:.2f}"
    if loss > 1 / UNTRAINED * guessing:
        return f"Worse than guessing. {against}. {accuracy}"
    if loss >= UNTRAINED * guessing:
        return f"At chance: untrained, or nothing learnt. {against}. {accuracy}"
    if loss > TRAINED * guessing:
        return f"Trained in part. {against}. {accuracy}"
    return f"Trained. {against}. {accuracy}"


def accuracy_in_words(accuracy: Accuracy | None) -> str:
    """The rate with its standard error, or that there is none."""
    if accuracy is None:
        return "Accuracy was not measured."
    error = f" ± {accuracy.standard_error:.1%}" if accuracy.standard_error else ""
    return f"Accuracy {accuracy.rate:.1%}{error}, on {accuracy.samples:,} of the samples that gradients were taken of."
