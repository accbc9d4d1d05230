"""The paper's open end: what its questions give for a GPT on characters of Shakespeare."""
