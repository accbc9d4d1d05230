"""One colour for each quantity, wherever it is drawn: those of Okabe and Ito, which colour-blind readers tell apart.

Orange and sky blue are darkened, so that every colour has a contrast of 3:1 with white (WCAG 1.4.11). ``DARK`` has the
colours for a dark ground. Okabe, Ito 2008, *Color Universal Design*.
"""

VERMILLION, BLUE, GREEN, PURPLE = "#D55E00", "#0072B2", "#009E73", "#C2649A"
ORANGE, SKY, BLACK, GREY, PALE = "#B37700", "#2A8FC7", "#1F2430", "#6B7280", "#9AA3B0"

LIGHT = {
    "dimension": VERMILLION,
    "iteration": BLUE,
    "second moment": PURPLE,
    "covariance": GREEN,
    "eigengaps": ORANGE,
    "hessian": BLUE,
    "isotropic": GREY,
    "permuted": SKY,
    "diagonal": BLACK,
    "power law": ORANGE,
    "broken power law": PURPLE,
    "two halves": SKY,
    "gaussian": SKY,
    "not gaussian": VERMILLION,
    "degenerate": PALE,
    "rank 1": VERMILLION,
    "rank 2": BLUE,
    "rank 5": GREEN,
    "rank 10": ORANGE,
    "run 0": BLUE,
    "run 1": VERMILLION,
    "run 2": GREEN,
    "run 3": PURPLE,
    "run 4": ORANGE,
    "run 5": SKY,
    "run 6": BLACK,
    "run 7": GREY,
    "mark": GREY,
}
_ON_DARK = {
    VERMILLION: "#F07F2E",
    BLUE: "#4BA3DB",
    GREEN: "#2BBF94",
    PURPLE: "#DD8FB9",
    ORANGE: "#E69F00",
    SKY: "#7CC7EE",
    BLACK: "#E6E8EC",
    GREY: "#9AA3B0",
    PALE: "#6B7280",
}
DARK = {name: _ON_DARK[colour] for name, colour in LIGHT.items()}
RUNS = sum(name.startswith("run ") for name in LIGHT)

# What Matplotlib calls each symbol; the page knows them by these names.
SYMBOLS = {"circle": "o", "times": "x", "square": "s", "triangle": "^", "diamond": "D", "plus": "+"}
