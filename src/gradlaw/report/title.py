"""The title of an analysis."""

from gradlaw.analysis.result import AnalysisResult


def title(analysis: AnalysisResult) -> str:
    """Model, data, B and T."""
    settings, problem = analysis.settings, analysis.provenance["problem"]
    data = problem["data"].get("name")
    on = f" on {data.rstrip('/').rpartition('/')[2]}" if data else ""
    noise = problem["data"].get("label_noise")
    on += f" with {noise['kind']} label noise ({noise['realised_rate']:.0%} wrong)" if noise else ""
    transformed = f" ({', '.join(settings['transforms'])})" if settings["transforms"] else ""
    size = analysis.sketch_size
    approximate = "" if size is None else f", approximate (sketches of {size:,} numbers)"
    sizes = f"B = {settings['batch_size']:,}, T = {settings['iterations']:,}"
    return f"{problem['model']}{on}{transformed}, {sizes}{approximate}"
