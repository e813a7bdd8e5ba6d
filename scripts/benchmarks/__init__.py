"""What ``scripts/benchmark.py`` measures, a module a question; `measuring` has the stop-watch, `plain` the opponent."""
