"""Locks that end with their process, where the operating system and the file system have them."""

import warnings

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def take_lock(file, shared=False, wait=False, at=None):
    """Lock an open file until it is closed.

    Parameters
    ----------
    file : file object
    shared : bool
        Together with others that share it.
    wait : bool
        For another process to release it.
    at : int, optional
        Lock this byte alone, which need not be there: one file locks many fits.

    Returns
    -------
    bool
        False if another process holds it. True, with a warning, where nothing can be locked
        (Windows; Lustre and NFS without ``flock``): results are written atomically all the same.
    """
    try:
        if fcntl is None:
            raise OSError("this system has no flock")
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        kind = kind if wait else kind | fcntl.LOCK_NB
        if at is None:
            fcntl.flock(file, kind)
        else:
            fcntl.lockf(file, kind, 1, at)
    except BlockingIOError:
        return False
    except OSError as err:
        warnings.warn(
            f"{file.name} cannot be locked ({err}); see to it that only one campaign runs in its "
            "folder.",
            stacklevel=2,
        )
    return True
