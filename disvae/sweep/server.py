"""The imports of the server from which jobs are forked, so that they are done once."""

import atexit
import os

from disvae.system.imports import loading

with loading():
    import joblib  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.decomposition
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.neighbors
    import sklearn.utils.parallel  # noqa: F401

    import disvae.evaluation.codes_file
    import disvae.pictures.run_page
    import disvae.sweep.worker
    import disvae.training.job_group  # noqa: F401

atexit.register(os._exit, 0)  # when the launcher ends: an ordinary exit would take seconds to unload all this
