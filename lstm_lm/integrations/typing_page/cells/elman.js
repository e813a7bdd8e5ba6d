// The simple recurrent network: the twin of lstm_lm/cells/elman.py.
function step(cell, x, { h }) {
  h = tanh(cell.candidate(x, h));
  return [{ h }, { candidate: h }];
}
