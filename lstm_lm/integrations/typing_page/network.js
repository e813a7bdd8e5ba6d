// The network: the weights of this page, and how they turn one word into the probabilities of the next.

const data = JSON.parse(document.getElementById("data").textContent);
const words = data.words, ids = new Map(words.map((word, id) => [word, id]));
const UNK = 0, EOS = 1;

// --- weights ---------------------------------------------------------------------------------------

function bytes(base64) {
  const text = atob(base64), found = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) found[k] = text.charCodeAt(k);
  return found.buffer;
}
function fromFloat16(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024);
}
function tensor({ shape, type, values, scales }) {       // every kind becomes float32
  const columns = shape[shape.length - 1], buffer = bytes(values);
  if (type === "float32") return matrix(shape, new Float32Array(buffer));
  if (type === "float16") return matrix(shape, Float32Array.from(new Uint16Array(buffer), fromFloat16));
  const rowScales = new Float32Array(bytes(scales)), integers = new Int8Array(buffer);
  const found = new Float32Array(integers.length);
  for (let row = 0, k = 0; row < shape[0]; row++)
    for (const scale = rowScales[row], end = k + columns; k < end; k++) found[k] = integers[k] * scale;
  return matrix(shape, found);
}
function matrix(shape, values) {                          // a vector is the array itself
  return shape.length === 1 ? values : { rows: shape[0], columns: shape[1], values };
}
const tensors = new Map(Object.entries(data.tensors).map(([name, stored]) => [name, tensor(stored)]));
const numbered = name => {                                // the tensors name.0, name.1, ...
  const found = [];
  while (tensors.has(`${name}.${found.length}`)) found.push(tensors.get(`${name}.${found.length}`));
  return found;
};

// --- arithmetic ------------------------------------------------------------------------------------

function map(f, ...parts) {
  const found = new Float32Array(parts[0].length);
  for (let k = 0; k < found.length; k++) found[k] = f(...parts.map(part => part[k]));
  return found;
}
const unary = f => a => { const found = new Float32Array(a.length);
                          for (let k = 0; k < a.length; k++) found[k] = f(a[k]); return found; };
const binary = f => (a, b) => { const found = new Float32Array(a.length);
                                for (let k = 0; k < a.length; k++) found[k] = f(a[k], b[k]); return found; };
const plus = binary((a, b) => a + b), minus = binary((a, b) => a - b), times = binary((a, b) => a * b);
const tanh = unary(Math.tanh), sigmoid = unary(a => 1 / (1 + Math.exp(-a))), oneMinus = unary(a => 1 - a);
const logSigmoid = unary(a => Math.min(a, 0) - Math.log1p(Math.exp(-Math.abs(a))));

function joined(a, b) {
  const all = new Float32Array(a.length + b.length);
  all.set(a); all.set(b, a.length);
  return all;
}
function product({ rows, columns, values }, x) {             // M x; four sums at a time are faster than one
  const found = new Float32Array(rows), whole = columns - columns % 4;
  for (let row = 0, k = 0; row < rows; row++) {
    let a = 0, b = 0, c = 0, d = 0, j = 0;
    for (; j < whole; j += 4, k += 4) {
      a += values[k] * x[j]; b += values[k + 1] * x[j + 1];
      c += values[k + 2] * x[j + 2]; d += values[k + 3] * x[j + 3];
    }
    for (; j < columns; j++, k++) a += values[k] * x[j];
    found[row] = a + b + c + d;
  }
  return found;
}
function productTransposed({ rows, columns, values }, x) {   // the transposed M, times x
  const found = new Float32Array(columns);
  for (let row = 0, k = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, k++) found[column] += values[k] * x[row];
  return found;
}

// --- the cell --------------------------------------------------------------------------------------

// One gate before its sigmoid: W x + U h + b; without U if the gate does not see the state.
function gateLayer(W, U, b) {
  const fromInput = x => plus(product(W, x), b), fromState = h => product(U, h);
  const gate = (x, h) => U ? plus(fromInput(x), fromState(h)) : fromInput(x);
  return Object.assign(gate, { fromInput, fromState });
}
function buildCell(layer) {
  const prefix = `recurrent.cells.${layer}.`, cell = {};
  for (const [name, value] of tensors) if (name.startsWith(prefix)) {
    const [gate, part, weight] = name.slice(prefix.length).split(".");
    if (part === undefined) cell[gate] = value;
    else if (weight !== undefined) ((cell[gate] ??= [])[part] ??= {})[weight] = value;   // of a round
    else cell[gate] ??= gateLayer(value, tensors.get(`${prefix}${gate}.recurrent_weight`), tensors.get(`${prefix}${gate}.bias`));
  }
  return cell;
}
const cells = data.hidden_sizes.map((_, layer) => buildCell(layer));
const zeroStates = () => data.hidden_sizes.map(size =>
  Object.fromEntries(data.state.map(part => [part, new Float32Array(size)])));

// --- the network -----------------------------------------------------------------------------------

// Word vectors: one matrix, or a head and clusters of rarer words with narrower vectors.
const single = name => tensors.has(name) ? [tensors.get(name)] : [];
const embedding = { weights: [...single("embedding.weight"), ...numbered("embedding.weights")],
                    projections: numbered("embedding.projections") };
const own = { weights: [...single("output.weight"), ...numbered("output.words.weights")],
              projections: numbered("output.words.projections") };
const output = own.weights.length ? own : embedding;         // a tied model has one set of word vectors
const ends = data.ends, bias = tensors.get("output.bias");

function embed(word) {
  const k = ends.findIndex(end => word < end), { columns, values } = embedding.weights[k];
  const row = word - (k ? ends[k - 1] : 0), vector = values.slice(row * columns, (row + 1) * columns);
  return (k ? product(embedding.projections[k - 1], vector) : vector).map(value => value * data.scale);
}
function normalized(x) {
  const weight = tensors.get("norm.weight"), shift = tensors.get("norm.bias");
  if (!weight) return x;
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
  return x.map((value, k) => (value - mean) / Math.sqrt(variance + data.epsilon) * weight[k] + shift[k]);
}
// What the output layer reads: of a mixture of softmaxes, each one's vector, and how much each counts.
function projected(hidden) {
  const projection = tensors.get("projection.weight"), latent = tensors.get("projection.latent.weight");
  if (!latent) return projection ? product(projection, hidden) : hidden;
  const vectors = tanh(plus(product(latent, hidden), tensors.get("projection.latent.bias")));
  return joined(vectors, product(tensors.get("projection.prior.weight"), hidden));
}
// Reads one word: the states after it, the gates at it, and the vector from which the next word is predicted.
function read(word, before) {
  let x = embed(word);
  const states = [], gates = [];
  for (let layer = 0; layer < cells.length; layer++) {
    [states[layer], gates[layer]] = step(cells[layer], x, before[layer]);
    x = states[layer].h;
  }
  return { states, gates, hidden: projected(normalized(x)) };
}
function logSoftmax(logits) {
  let most = -Infinity, sum = 0;
  for (let k = 0; k < logits.length; k++) if (logits[k] > most) most = logits[k];
  for (let k = 0; k < logits.length; k++) sum += Math.exp(logits[k] - most);
  const shift = most + Math.log(sum);
  return unary(logit => logit - shift)(logits);
}
const logAdd = binary((a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))));
function mixtureLogProbabilities(hidden) {
  const [weight] = output.weights, width = weight.columns, count = hidden.length / (width + 1);
  const logPrior = logSoftmax(hidden.subarray(count * width));
  let found = null;
  for (let k = 0; k < count; k++) {
    const logits = plus(product(weight, hidden.subarray(k * width, (k + 1) * width)), bias);
    const joint = logSoftmax(logits).map(value => value + logPrior[k]);
    found = found ? logAdd(found, joint) : joint;
  }
  return found;
}
// The logarithm of the probability of every word, in nats.
function logProbabilities(hidden) {
  if (tensors.has("projection.latent.weight")) return mixtureLogProbabilities(hidden);
  const first = product(output.weights[0], hidden), shift = bias.subarray(0, ends[0]);
  if (ends.length === 1) return logSoftmax(plus(first, shift));
  const clusters = plus(product(tensors.get("output.cluster_weight"), hidden), tensors.get("output.cluster_bias"));
  const head = logSoftmax(joined(plus(first, shift), clusters)), all = new Float32Array(words.length);
  all.set(head.subarray(0, ends[0]));
  for (let k = 1; k < ends.length; k++) {
    const narrowed = productTransposed(output.projections[k - 1], hidden);
    const within = logSoftmax(plus(product(output.weights[k], narrowed), bias.subarray(ends[k - 1], ends[k])));
    all.set(within.map(value => value + head[ends[0] + k - 1]), ends[k - 1]);
  }
  return all;
}

// --- a text, read word by word ---------------------------------------------------------------------

// A place in a text: what the network holds after the words before it. Places are kept, so that a word is read once.
const MOST_PLACES = 3000;
let placeCount = 0, newest = { place: null, scores: null };
function place(before, word) {
  placeCount++;
  return { word, before, bits: before ? -scoresAt(before)[word] / Math.LN2 : 0, next: new Map(),
           ...read(word, before ? before.states : zeroStates()) };
}
function placeAfter(before, word) {
  if (!before.next.has(word)) before.next.set(word, place(before, word));
  return before.next.get(word);
}
function scoresAt(place) {
  if (newest.place !== place) newest = { place, scores: logProbabilities(place.hidden) };
  return newest.scores;
}
const start = place(null, EOS);                             // a text begins after a line end
function forgetOthers(path) {                               // keeps only the places of one text
  if (placeCount <= MOST_PLACES) return;
  for (let k = 0; k < path.length; k++) path[k].next = new Map(path[k + 1] ? [[path[k + 1].word, path[k + 1]]] : []);
  placeCount = path.length;
}
// The most probable of some words, without <unk>: [{ id, score }], the first the most probable.
function best(scores, count, among = null) {
  const found = [];
  const offer = id => {
    if (id === UNK || (found.length === count && scores[id] <= found[count - 1].score)) return;
    let k = found.length;
    while (k && found[k - 1].score < scores[id]) k--;
    found.splice(k, 0, { id, score: scores[id] });
    if (found.length > count) found.pop();
  };
  if (among) among.forEach(offer); else for (let id = 0; id < scores.length; id++) offer(id);
  return found;
}
// What LanguageModel.predict_next does: the most probable words after a typed text.
function predictNext(text, count) {
  const read = promptWords(text).slice(1).map(idOf).reduce(placeAfter, start);
  return best(scoresAt(read), count).map(({ id, score }) => ({ word: words[id], log_probability: score }));
}
