from disvae.api.scoring import score as score
from disvae.api.tables import runs as runs
from disvae.api.trained import TrainedRun as TrainedRun
from disvae.api.trained import TrainedVAE as TrainedVAE
from disvae.api.trained import load as load
from disvae.api.training import train as train

__version__: str
