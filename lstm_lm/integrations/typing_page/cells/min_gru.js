// The GRU without recurrence in its gates: the twin of lstm_lm/cells/min_gru.py.
function step(cell, x, { h }) {
  const z = sigmoid(cell.update_gate(x));
  const n = cell.candidate(x);
  h = plus(times(oneMinus(z), n), times(z, h));
  return [{ h }, { update_gate: z, candidate: n }];
}
