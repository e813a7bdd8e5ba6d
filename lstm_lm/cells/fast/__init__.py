"""What makes a window fast: per cell a forward and a backward pass, and fast matrix products.

- `lstm.py`, `gru.py`, `elman.py`: a cell's window in torch's operators, derived by hand;
  `window.py` has what they share. The equations are in `lstm_lm.cells.fused`.
- `on_cpu.c`, called by `on_cpu.py`: an LSTM's window and matrix products in C.
- `on_gpu.py`: an LSTM's window as a Triton kernel.
- `products.py`: chooses the fastest library for a matrix product.
"""
