"""Worker processes."""

import os
import threading
from multiprocessing import parent_process


def exit_with_parent():
    """End this worker when its parent dies: a killed run must not leave processes behind."""

    def wait():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
