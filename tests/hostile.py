"""A name that would be run, break a line, colour a terminal or typeset, where it is not shown as text."""

HOSTILE = "<script>alert(1)</script>\n\x1b[31m$\\frac{1}{2}$ \"'&"
