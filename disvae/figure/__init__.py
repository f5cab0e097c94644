"""Figure: a function (vae, view, settings) -> Drawn, a matplotlib Figure or the frames of an animation; writes nothing.

What cannot be drawn raises NotDrawable (disvae/pictures/figure_data.py).
"""
