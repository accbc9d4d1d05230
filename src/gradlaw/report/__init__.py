"""How an analysis is shown: figures, the HTML page, the terminal table."""

from gradlaw.report.terminal import plain_summary, summary

__all__ = ["plain_summary", "summary"]
