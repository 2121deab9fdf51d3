"""Ending together with the process that started this one: it holds our standard input, and nobody else does."""

import os
import threading

_STOPPED = 143


def end_with_standard_input() -> None:
    """End this process at once when its standard input ends, whatever it does then, also in the middle of torch."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(_STOPPED)

    threading.Thread(target=watch, name="tied", daemon=True).start()
