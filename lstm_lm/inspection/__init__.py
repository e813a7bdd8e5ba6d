"""Look inside a prediction: which units hold what for how long, and pictures of every gate at every word."""
