// The LSTM, one word at a time: the twin of lstm_lm/cells/lstm.py.
function step(cell, x, { h, c }) {
  const f = sigmoid(cell.forget_gate(x, h));        // what to keep
  const i = sigmoid(cell.input_gate(x, h));         // what to write
  const g = tanh(cell.candidate(x, h));             // what could be written
  const o = sigmoid(cell.output_gate(x, h));        // what to show
  c = plus(times(f, c), times(i, g));               // the cell state
  h = times(o, tanh(c));                            // the output
  return [{ h, c }, { forget_gate: f, input_gate: i, candidate: g, output_gate: o }];
}
