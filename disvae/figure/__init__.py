"""Figures: each is a function (vae, view, **settings) that returns a matplotlib Figure or the frames of an animation.

A figure writes no file. It raises NotDrawable (disvae/pictures/figure_data.py) if the model or the data do not suit it.
"""
