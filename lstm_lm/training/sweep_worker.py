"""One run of a sweep, in a process of its own: `lstm_lm.training.sweep_process` starts it.

It reads the configuration and the run directory, one line of JSON, from standard input, and trains.
Progress and errors go to standard error. When standard input ends, because the sweep stops or its
process has ended, the run is saved and stops.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from lstm_lm.errors import DivergedError, UserError
from lstm_lm.printing import print_note
from lstm_lm.training.signals import HeldSignals, LeaveSignals

DIVERGED = 3  # exit status
UNEXPECTED = 70  # exit status: an error that is no mistake of the user
_STDIN = 0


def main() -> int:
    """Trains the run that standard input names.

    Returns:
        The exit status: 0 if the run is finished; 128 and more if it was stopped and saved;
        `DIVERGED`; 2 for another `UserError`; `UNEXPECTED` for any other exception.
    """
    # It may be ignored where the sweep was started in the background of a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with LeaveSignals() as signals:
        try:
            request = json.loads(_read_line())
            threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()
            return _train(request)
        except KeyboardInterrupt:
            return 128 + (signals.received or signal.SIGINT)
        except UserError as error:
            print_note(f"lstm-lm: error: {error}")
            return DIVERGED if isinstance(error, DivergedError) else error.exit_status
        except Exception:
            traceback.print_exc()
            return UNEXPECTED


def _train(request: dict[str, Any]) -> int:
    with HeldSignals():
        import torch

        from lstm_lm.config import config_from_dict
        from lstm_lm.training.run import train

    torch.set_num_threads(1)
    config = config_from_dict(request["config"], refuse_unused=False)
    run = train(config, Path(request["folder"]), resume=request["resume"], report=_report)
    return 0 if run.stopped_by is None else 128 + run.stopped_by


def _report(line: str) -> None:
    print_note(line)


def _read_line() -> bytes:
    """Reads one line without a buffer, which a thread could not share."""
    line = b""
    while not line.endswith(b"\n"):
        block = os.read(_STDIN, 1 << 16)
        if not block:
            break
        line += block
    return line


def _stop_at_the_end_of_input() -> None:
    while os.read(_STDIN, 1):
        pass
    _thread.interrupt_main(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
