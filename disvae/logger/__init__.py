"""Logger: a function (folder, step, settings) -> Lightning's Logger, for the curves of one run.

`folder` is the run's folder, and `step` the number of steps that are done when the logger is made, which is not 0 for a
run that goes on from a checkpoint. A logger of an optional package names it as `needs` in its YAML.
"""
