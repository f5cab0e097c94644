"""The benchmark: training speed compared with a plain loop and with the speed of matrix products."""
