"""A line of our code before which a process is killed: at any place, and at the same one in every run."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType


class FatalLine:
    """Inside the block this process dies before the `number`-th line that it runs of the files in `folder`.

    Lines of the threads that begin there count too. `ran` says how many were run.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.ran = 0
        self._folder, self._number = str(folder), number

    def __enter__(self) -> "FatalLine":
        threading.settrace(self._traced)  # type: ignore[arg-type]
        sys.settrace(self._traced)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    def _traced(self, frame: FrameType, event: str, _: object) -> object:
        if not frame.f_code.co_filename.startswith(self._folder):
            return None
        if event == "line":
            if self.ran + 1 == self._number:
                os.kill(os.getpid(), signal.SIGKILL)
            self.ran += 1
        return self._traced
