"""Words in, a distribution over the next word out: embedding -> stack of cells -> output layer."""
