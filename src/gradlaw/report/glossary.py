"""The terms of the page: what each is, where it comes from and when not to trust it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """An entry of the glossary.

    Attributes:
        name: as it is written in headings of tables and in sentences.
        meaning: in a sentence or two.
        source: paper or method, if it has one.
        caveat: when not to trust it, or what it is not.
        also: other spellings.
        elsewhere: what the field calls it beside the paper, or what it must not be taken for.
    """

    name: str
    meaning: str
    source: str = ""
    caveat: str = ""
    also: tuple[str, ...] = ()
    elsewhere: str = ""

    @property
    def key(self) -> str:
        """Of its anchor."""
        return "term-" + "".join(c if c.isalnum() else "-" for c in self.name.lower())

    @property
    def text(self) -> str:
        """All of it, in sentences."""
        parts = (self.meaning, f"Source: {self.source}." if self.source else "", self.caveat)
        return " ".join(part for part in parts if part)


TERMS = (
    Term(
        "dimension-wise",
        "Across the n parameters of one iteration: a series is the gradient of one minibatch.",
        source="Xie et al. 2023",
        caveat="Claims about one direction say nothing about the other.",
        elsewhere="the distribution of the gradient, or of its coordinates",
    ),
    Term(
        "iteration-wise",
        "Across the T minibatches of one parameter: a series is the noise of sampling that one parameter sees.",
        source="Xie et al. 2023",
        also=("across minibatches",),
        elsewhere="gradient noise, minibatch noise",
    ),
    Term(
        "gradient history",
        "The gradients of T minibatches at fixed parameters, a matrix of T by n. Nothing is trained.",
        elsewhere="a matrix of stochastic gradients; no history of a training, whose parameters move",
    ),
    Term(
        "T",
        "How many minibatches the gradients were taken of.",
        also=("iterations",),
        elsewhere="the number of gradient samples, or of steps",
    ),
    Term(
        "B",
        "How many samples a minibatch has.",
        also=("batch size",),
    ),
    Term(
        "n",
        "How many parameters were analysed.",
        elsewhere="d, p, or the number of parameters",
    ),
    Term(
        "K",
        "How many of the largest values a power law is fitted to: the tail.",
        caveat="A tail is at most a third of a series; more gets no verdict.",
    ),
    Term(
        "power-law",
        "The K largest magnitudes follow p(x) ~ x^(-beta): a straight line on logarithmic axes.",
        source="Clauset, Shalizi, Newman 2009",
        caveat="Passing means not rejected; other heavy-tailed families may pass as well.",
        also=(
            "power law",
            "power-law tails",
        ),
    ),
    Term(
        "s",
        "The exponent by rank: the r-th largest value is proportional to r^(-s); s = 1/(beta - 1). A larger s "
        "falls faster.",
        source="Zipf; Xie et al. 2023",
        elsewhere="the Zipf exponent; the exponent of the density is beta, called alpha by powerlaw and WeightWatcher",
    ),
    Term(
        "d_KS",
        "The Kolmogorov-Smirnov distance between the K largest values and the fitted law: the largest gap "
        "between their distribution functions. Smaller is straighter.",
        source="Clauset, Shalizi, Newman 2009",
        elsewhere="D, the KS statistic",
    ),
    Term(
        "published",
        "The verdict of the literature: d_KS below 1.36 / sqrt(K).",
        source="Xie et al. 2023, Eq. 8",
        caveat="Meant for a law known beforehand; a law fitted to the same data passes 99.5% of the time.",
        also=("power law, published",),
        elsewhere="the Kolmogorov-Smirnov test at 5%, with critical distances for a law that is not fitted",
    ),
    Term(
        "calibrated",
        "The verdict at the right level: d_KS below the distance that a true power law with fitted exponent "
        "stays under 95% of the time, about 1.09 / sqrt(K).",
        source="Lilliefors 1969, simulated and exact tables",
        also=(
            "power law, calibrated",
            "calibrated level",
            "calibrated test",
        ),
        elsewhere="a Lilliefors test",
    ),
    Term(
        "by chance",
        "The share of Gaussian series of the same length and K that pass the same test. Of the Gaussian test: "
        "the share of true Gaussian series that pass.",
        caveat="Above 20% there is no verdict.",
    ),
    Term(
        "no verdict",
        "The series are too short, or K too large, to tell a power law from a Gaussian.",
    ),
    Term(
        "Gaussian",
        "Not rejected by D'Agostino and Pearson's test of skewness and kurtosis, on values drawn from the series.",
        source="D'Agostino, Pearson 1973",
        caveat="Small deviations pass; true Gaussian series pass in about 94.5%.",
    ),
    Term(
        "degenerate",
        "A series that cannot be tested: fewer than K nonzero values, or all equal (dead units, constant pixels).",
        caveat="Counts as failing in rates, left out of means.",
        also=("cannot be tested",),
        elsewhere="dead units, constant inputs; no common name",
    ),
    Term(
        "95% interval",
        "Wilson's interval of a rate.",
        source="Wilson 1927",
        caveat="Takes series as independent, which gradients of one model are not: the true uncertainty is larger.",
    ),
    Term(
        "false discoveries controlled",
        "The share not rejected when false discoveries are controlled at alpha over all series.",
        source="Benjamini, Hochberg 1995",
    ),
    Term(
        "mean p",
        "The mean p-value of the power-law test over the series that can be tested. Under the law it is 0.5.",
    ),
    Term(
        "second moment",
        "The matrix (1/T) sum g g^T of the gradients g.",
        elsewhere="the uncentred covariance; of single-sample gradients, the empirical Fisher matrix",
    ),
    Term(
        "covariance",
        "The same of the gradients less their mean: the noise of minibatches.",
        elsewhere="the gradient noise covariance, often C or Sigma",
    ),
    Term(
        "spectrum",
        "The eigenvalues of a matrix in descending order.",
        caveat=(
            "No sample: eigenvalues repel one another, so that a smooth spectrum lies closer to its line than "
            "independent draws would. Passing means as straight as a power law."
        ),
        also=("spectra",),
    ),
    Term(
        "eigengaps",
        "The differences of neighbouring eigenvalues, sorted.",
        source="Xie et al. 2023, Eq. 5",
        also=("eigengap",),
    ),
    Term(
        "rank",
        "In figures: the place in descending order. Of a spectrum: how many eigenvalues are above rounding.",
    ),
    Term(
        "outliers",
        "Leading eigenvalues above the largest drop, if that is more than a power law would show once in a "
        "hundred times.",
        caveat="They may be of variance alone: compare with the controls.",
        also=("leading eigenvalues",),
        elsewhere="spikes, or the top subspace; not the outliers of a data set",
    ),
    Term(
        "controls",
        "The same statistics of noise of the same shape, where there is nothing to find: isotropic, permuted, "
        "diagonal.",
    ),
    Term(
        "trace",
        "The total variance of one minibatch gradient, summed over the parameters.",
        also=("variance",),
    ),
    Term(
        "noise scale",
        "The batch size at which the noise of a minibatch equals the mean gradient: the critical batch size.",
        source="McCandlish et al. 2018, unbiased",
        caveat="Of plain SGD, at these parameters; it grows while training.",
        also=("critical batch size",),
        elsewhere="the gradient noise scale, GNS, or B_simple; elsewhere also the ratio of learning rate to B",
    ),
    Term(
        "signal to noise",
        "The squared mean gradient over the trace of the covariance.",
    ),
    Term(
        "stable rank",
        "The trace over the largest eigenvalue: a number of directions that matter.",
    ),
    Term(
        "participation",
        "The squared trace over the sum of squared eigenvalues, without the bias of T below n.",
    ),
    Term(
        "share of noise",
        "The part of the trace that a tensor has.",
    ),
    Term(
        "alpha-stable index",
        "2 for Gaussian noise, smaller for heavier tails.",
        source="Mohammadi et al. 2015; Simsekli et al. 2019",
        caveat="The estimator answers whatever it is given, and is no test of stability.",
        elsewhere="the tail index of gradient noise",
    ),
    Term(
        "Hill",
        "An estimate of the tail's exponent, 1/s, at each number of values taken as the tail.",
        source="Hill 1975",
    ),
    Term(
        "alpha",
        "The level of a test: how often it rejects what is true.",
    ),
    Term(
        "certainty",
        "High, medium or low, by written rules: how many series were tested, how many could not be, how many "
        "pass by chance, standard errors, and controls.",
    ),
)
BY_SPELLING = {spelling.lower(): term for term in TERMS for spelling in (term.name, *term.also)}
# Short names stand in headings and captions alone; in sentences they would mark half of the words.
IN_SENTENCES = sorted((s for s, t in BY_SPELLING.items() if len(s) > 3 or s == "d_ks"), key=len, reverse=True)
