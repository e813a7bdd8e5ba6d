// The gated recurrent unit: the twin of lstm_lm/cells/gru.py.
function step(cell, x, { h }) {
  const r = sigmoid(cell.reset_gate(x, h));
  const z = sigmoid(cell.update_gate(x, h));
  const fromState = plus(cell.candidate.fromState(h), cell.candidate_state_bias);
  const n = tanh(plus(cell.candidate.fromInput(x), times(r, fromState)));
  h = plus(times(oneMinus(z), n), times(z, h));
  return [{ h }, { reset_gate: r, update_gate: z, candidate: n }];
}
