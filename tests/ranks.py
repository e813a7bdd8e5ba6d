"""Functions in processes that train together, forked from this one, which has imported torch."""

import multiprocessing
import os
import traceback

import torch

from lstm_lm.training.distributed import joined
from tests.torture.ranks import environment, free_port


def run_ranks(size, work):
    """Calls ``work(ranks)`` in ``size`` connected processes; returns what each returned.

    An exception in one of them is raised here, as an AssertionError with its traceback.
    """
    fork, port = multiprocessing.get_context("fork"), free_port()
    pipes, processes = [], []
    for rank in range(size):
        receive, send = fork.Pipe(duplex=False)
        processes.append(fork.Process(target=_run, args=(rank, size, port, work, send)))
        processes[-1].start()
        send.close()
        pipes.append(receive)
    answers = []
    for receive in pipes:
        try:
            answers.append(receive.recv() if receive.poll(120) else ("error", "it hangs"))
        except EOFError:
            answers.append(("error", "it was killed"))
    for process in processes:
        process.join(5)
        process.kill()
    errors = [answer for kind, answer in answers if kind == "error"]
    assert not errors, "\n".join(errors)
    return [answer for _, answer in answers]


def _run(rank, size, port, work, send):
    os.environ.update(environment(rank, size, port))
    torch.set_num_threads(1)
    try:
        with joined() as ranks:
            ranks.connect()
            send.send(("done", work(ranks)))
    except BaseException:
        send.send(("error", f"rank {rank}: {traceback.format_exc()}"))
