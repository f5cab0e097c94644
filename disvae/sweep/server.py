"""For the server that jobs are forked from, and for it alone: imports what all of them need, once."""

import atexit
import os

import disvae.fit
import disvae.sweep.worker
import disvae.table  # noqa: F401

atexit.register(os._exit, 0)  # with the launcher; to take all of that down again takes seconds
