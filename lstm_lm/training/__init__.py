"""Training: `run.train` is the entry; the loop, optimizers, checkpoints, logs, comparisons."""
