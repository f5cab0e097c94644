"""Higgins et al. 2017: the score with 64 pairs a vote, beside that with fewer, of the same codes."""

from disvae.experiment.recipe import Recipe, run_codes
from disvae.runs.folder import Run


class Higgins2DShapes(Recipe):
    """A recipe that scores the codes with the 64 pairs of the paper, too, without shape."""

    def measure(self, run: Run) -> dict[str, float]:
        """Return the score with L = 64, from held-out votes."""
        from disvae.metric.higgins import Higgins

        codes, factors, names = run_codes(run)
        kept = [k for k, name in enumerate(names) if name != "shape"]
        metric = Higgins(pairs=64, votes=10_000, held_out_votes=5_000)
        scores = metric(codes, factors[:, kept], names=[names[k] for k in kept])
        return {"higgins64": scores["standardised"]}
