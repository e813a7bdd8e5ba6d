"""The same equations as one piece of work: C on a CPU, Triton on a GPU, and the fastest matrix products."""
