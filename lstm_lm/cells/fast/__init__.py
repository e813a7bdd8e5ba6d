"""What makes a window fast: per cell a forward and a backward pass, and fast matrix products.

- `lstm.py` (also with peepholes and with coupled gates), `gru.py`, `elman.py`, `slstm.py`,
  `mogrifier.py`: a cell's window in torch's operators, derived by hand; `scan.py`: that of the
  cells without recurrence in their gates; `window.py` has what they share. The equations are in
  `lstm_lm.cells.fused`.
- `on_cpu.c`, called by `on_cpu.py`: the window of an LSTM and its kin, and matrix products, in C.
- `on_gpu.py`: an LSTM's window as a Triton kernel.
- `products.py`: chooses the fastest library for a matrix product.
"""
