// The Mogrifier LSTM: the twin of lstm_lm/cells/mogrifier_lstm.py.
function step(cell, x, { h, c }) {
  (cell.rounds ?? []).forEach(({ down, up, bias }, number) => {   // word and state modulate each other in turn
    const factor = sigmoid(plus(product(up, product(down, number % 2 ? x : h)), bias)).map(value => 2 * value);
    if (number % 2) h = times(factor, h); else x = times(factor, x);
  });
  const f = sigmoid(cell.forget_gate(x, h));        // from here on, the LSTM
  const i = sigmoid(cell.input_gate(x, h));
  const g = tanh(cell.candidate(x, h));
  const o = sigmoid(cell.output_gate(x, h));
  c = plus(times(f, c), times(i, g));
  h = times(o, tanh(c));
  return [{ h, c }, { forget_gate: f, input_gate: i, candidate: g, output_gate: o }];
}
