"""Data of a figure, plot style, picture files and HTML pages."""
