"""One bot per data folder: a lock on a file in it, that the system frees however the process that holds it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from persona_chat.errors import AlreadyRunning
from persona_chat.store.database import folder_unusable

LOCK = "instance.lock"


@contextmanager
def only_one_in(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, which is made if need be, inside the block.

    Raises AlreadyRunning with the number of the process that holds it, and DataFolderUnusable. The file stays behind:
    whoever removed it could take a lock that nobody else sees.
    """
    path = data_dir / LOCK
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise folder_unusable(data_dir, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(_message(data_dir, os.pread(handle, 20, 0))) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _message(data_dir: Path, written: bytes) -> str:
    pid = written.strip().decode("ascii", "replace")
    holder = f"process {pid}" if pid.isdecimal() else "another process"  # it has not written its number yet
    return (
        f"{data_dir} is in use by {holder}. Stop that one first (Ctrl-C there, or `kill {pid or 'PID'}`), or choose "
        "another folder with --data-dir or PERSONA_CHAT_DATA_DIR."
    )
