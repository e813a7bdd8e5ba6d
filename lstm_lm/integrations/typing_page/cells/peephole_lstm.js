// The LSTM whose gates see the cell state: the twin of lstm_lm/cells/peephole_lstm.py.
function step(cell, x, { h, c }) {
  const f = sigmoid(plus(cell.forget_gate(x, h), times(cell.forget_gate_peephole, c)));
  const i = sigmoid(plus(cell.input_gate(x, h), times(cell.input_gate_peephole, c)));
  const g = tanh(cell.candidate(x, h));
  c = plus(times(f, c), times(i, g));
  const o = sigmoid(plus(cell.output_gate(x, h), times(cell.output_gate_peephole, c)));
  h = times(o, tanh(c));
  return [{ h, c }, { forget_gate: f, input_gate: i, candidate: g, output_gate: o }];
}
