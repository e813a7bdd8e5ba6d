// The LSTM without recurrence in its gates: the twin of lstm_lm/cells/min_lstm.py.
function step(cell, x, { h }) {
  const logRatio = minus(logSigmoid(cell.forget_gate(x)), logSigmoid(cell.input_gate(x)));
  const f = sigmoid(logRatio);
  const i = oneMinus(f);
  const n = cell.candidate(x);
  h = plus(times(f, h), times(i, n));
  return [{ h }, { forget_gate: f, input_gate: i, candidate: n }];
}
