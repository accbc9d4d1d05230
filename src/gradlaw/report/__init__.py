"""How an analysis is shown: figures, the HTML page, the terminal table."""
