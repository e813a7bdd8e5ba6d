"""The parts of ``scripts/benchmark.py``; `measuring` has the timing, `plain` the baseline."""
