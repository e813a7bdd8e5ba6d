"""Training in processes that are killed, stopped or damaged: ``python -m tests.torture``."""
