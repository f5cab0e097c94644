"""Pictures of a run: the data of a figure, the plot style, picture files and HTML pages."""
