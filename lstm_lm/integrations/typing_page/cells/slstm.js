// The sLSTM: the twin of lstm_lm/cells/slstm.py. f and i are divided by exp(m), m is the stabiliser.
function step(cell, x, { h, m, n, c }) {
  const logF = logSigmoid(cell.forget_gate(x, h));
  const logI = cell.input_gate(x, h);
  const logKept = map((logF, m, n) => n > 0 ? logF + m : -Infinity, logF, m, n);
  m = map(Math.max, logKept, logI);
  const f = map((a, m) => Math.exp(a - m), logKept, m);
  const i = map((a, m) => Math.exp(a - m), logI, m);
  const g = tanh(cell.candidate(x, h));
  const o = sigmoid(cell.output_gate(x, h));
  const kept = times(f, n);
  n = plus(kept, i);
  c = map((kept, c, i, g, n) => (kept * c + i * g) / n, kept, c, i, g, n);
  h = times(o, c);
  const [forget, input] = [kept, i].map(part => map((a, b) => a / b, part, n));
  return [{ h, m, n, c }, { forget_gate: forget, input_gate: input, candidate: g, output_gate: o }];
}
