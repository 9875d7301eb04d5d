"""Processes and threads."""

import os
import threading
from contextlib import contextmanager
from multiprocessing import parent_process


def exit_with_parent():
    """End this worker when its parent dies: a killed run must not leave processes behind."""

    def wait():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def single_thread():
    """One BLAS thread inside the block, if threadpoolctl is installed.

    At these sizes several threads spin more than they compute. Without
    threadpoolctl, set OMP_NUM_THREADS=1 before Python starts.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1):
        yield
