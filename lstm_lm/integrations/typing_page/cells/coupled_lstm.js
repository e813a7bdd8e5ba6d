// The LSTM whose input gate is 1 - f: the twin of lstm_lm/cells/coupled_lstm.py.
function step(cell, x, { h, c }) {
  const f = sigmoid(cell.forget_gate(x, h));
  const g = tanh(cell.candidate(x, h));
  const o = sigmoid(cell.output_gate(x, h));
  c = plus(times(f, c), times(oneMinus(f), g));
  h = times(o, tanh(c));
  return [{ h, c }, { forget_gate: f, candidate: g, output_gate: o }];
}
