"""How the structure of gradients moves while networks learn: a study of its own, measured by the same engine."""
