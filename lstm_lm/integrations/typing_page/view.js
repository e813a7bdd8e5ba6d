// What the page shows. Words are always put in as text, never as HTML.

const $ = id => document.getElementById(id);
const channels = hex => [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16));           // of "#rrggbb"
let theme = {};                                             // the colours, light or dark: name -> #rrggbb
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["card", "ink", "soft", "low", "high"]) theme[name] = style.getPropertyValue(`--${name}`).trim();
}
const mixed = (from, to, share) => from.map((value, k) => Math.round(value + (to[k] - value) * share));
const percent = share => share < 0.0005 ? "< 0.1 %" : share > 0.9995 ? "> 99.9 %" :
  `${(100 * share).toFixed(share < 0.0995 || share > 0.9895 ? 1 : 0)} %`;
const MOST_BITS = 16, SHOWN = 5, CHART_WORDS = 24, LONG_AGO = 10, FRAME_MS = 10;

const now = { layer: data.hidden_sizes.length - 1, unit: 0, picked: null, path: [start], half: null, tokens: [words[EOS]],
              glued: null, first: null, caret: 0, width: 0, wait: 0, leaving: false, writing: 0 };
const text = $("text"), memory = data.state.at(-1);        // the part of the state that the page shows

function element(name, properties, ...children) {
  const { style, ...others } = properties, made = Object.assign(document.createElement(name), others);
  Object.assign(made.style, style);
  made.append(...children);
  return made;
}
function drawn(name, attributes, content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  return made;
}

// --- reading: as much as fits into a frame, so that typing never waits -----------------------------------

function changed() {
  now.half = halfOf(text.value.slice(0, text.selectionEnd));
  now.tokens = promptWords(text.value);
  const atEnd = text.selectionEnd >= text.value.trimEnd().length;
  const wanted = (now.half && atEnd ? now.tokens.slice(0, -1) : now.tokens).map(idOf);
  if (now.glued?.text === text.value) {                     // “well-” ends in @-@ if this is what was taken
    wanted[wanted.length - 1] = now.glued.id;
    now.tokens[now.tokens.length - 1] = words[now.glued.id];
  }
  now.path = [start];
  now.wanted = wanted;
  now.picked = null;
  $("note").hidden = text.value.length < text.maxLength;
  $("note").textContent = `The page reads at most ${text.maxLength.toLocaleString("en")} characters.`;
  cancelAnimationFrame(now.wait);
  readOn();
}
function readOn() {
  const until = performance.now() + FRAME_MS;
  do {
    const k = now.path.length;
    if (k >= now.wanted.length) break;
    now.path.push(placeAfter(now.path[k - 1], now.wanted[k]));
  } while (performance.now() < until);
  forgetOthers(now.path);
  if (now.path.length < now.wanted.length) now.wait = requestAnimationFrame(readOn);
  show();
}
// The half-typed word before the caret, unless it is whole: known, and the most probable of those that begin so.
function halfOf(before) {
  const half = halfTyped(before);
  if (!half || !half.among.length) return null;
  const place = promptWords(before).slice(1, -1).map(idOf).reduce(placeAfter, start);
  const [first] = best(scoresAt(place), 1, half.among);
  return words[first.id] === half.word ? null : { ...half, place };
}
// What can be taken: [{ id, share }] and the words above them.
function suggestions() {
  if (now.half) {
    const scores = scoresAt(now.half.place), all = now.half.among.reduce((sum, id) => sum + Math.exp(scores[id]), 0);
    return { title: `Words that begin with “${now.half.word}”`,
             list: best(scores, SHOWN, now.half.among).map(({ id, score }) => ({ id, share: Math.exp(score) / all })) };
  }
  const place = placeBefore(), list = best(scoresAt(place), SHOWN);
  return { title: place === start ? "A text may begin with" : `After “${shownPlace(place)}” may come`,
           list: list.map(({ id, score }) => ({ id, share: Math.exp(score) })) };
}
function placeBefore() {                                    // the place at the caret
  if (text.selectionEnd >= text.value.trimEnd().length) return now.path.at(-1);
  return promptWords(text.value.slice(0, text.selectionEnd)).slice(1).map(idOf).reduce(placeAfter, start);
}
function shownPlace(place) {
  const at = now.path.indexOf(place);
  return place.word === UNK && at >= 0 ? now.tokens[at] : shownWord(place.word);
}

function take(id) {
  const caret = text.selectionEnd, before = text.value.slice(0, caret), after = text.value.slice(caret);
  let kept = now.half ? before.slice(0, before.length - now.half.word.length) : before;
  const last = now.half ? null : splitText(kept.slice(kept.lastIndexOf("\n") + 1)).at(-1);
  if (id === EOS) kept = `${kept.trimEnd()}\n`;
  else {
    const glued = now.glued?.text === before || (last && isJoined(last, id));
    if (last) kept = kept.trimEnd() + (glued ? "" : " ");
    kept += shownWord(id) + (tightAfter.has(id) ? "" : " ");
  }
  now.glued = tightAfter.has(id) && data.shown[id] ? { text: kept, id } : null;
  text.value = kept + after.replace(/^ /, "");
  text.setSelectionRange(kept.length, kept.length);
  text.scrollTop = text.scrollHeight;
  changed();
}

// --- showing ------------------------------------------------------------------------------------------

function show() {
  showPredictions();
  showWords();
  showInside();
}
function showPredictions() {
  const { title, list } = suggestions(), whole = now.path.length === now.wanted.length;
  $("after").textContent = whole ? title : "Reading …";
  const buttons = $("predictions").children;
  while (buttons.length < SHOWN) $("predictions").append(element("button", { type: "button" },
    element("i", {}), element("b", {}), element("kbd", { textContent: "Tab" }), element("span", {})));
  [...buttons].forEach((button, k) => {
    const [bar, word, key, number] = button.children, found = list[k];
    button.style.visibility = found && whole ? "visible" : "hidden";
    if (!found) return;
    bar.style.width = `${100 * found.share}%`;
    word.textContent = shownWord(found.id);
    key.hidden = k > 0;
    number.textContent = percent(found.share);
    button.onclick = () => { take(found.id); text.focus(); };
  });
  now.first = whole && list.length ? list[0].id : null;
}
function shade(bits) {
  const colour = mixed(channels(theme.card), channels(theme.low), Math.min(1, bits / MOST_BITS));
  return { background: `rgb(${colour})`, color: 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 128 ? "#1b222c" : "#fff" };
}
function showWords() {
  const row = $("words"), here = pickedAt();
  const chips = now.path.slice(1).map((place, k) => ({ place, token: now.tokens[k + 1] }));
  if (now.half && now.tokens.length > now.path.length) chips.push({ place: null, token: now.half.word + "…" });
  while (row.children.length > chips.length) row.lastChild.remove();
  chips.forEach(({ place, token }, k) => {
    const chip = row.children[k] ?? row.appendChild(element("button", { type: "button" }));
    chip.classList.toggle("here", k + 1 === here);
    if (chip.place === place && chip.token === token) return;
    Object.assign(chip, { place, token });
    chip.textContent = token === words[EOS] ? "⏎" : token;
    chip.classList.toggle("half", !place);
    chip.classList.toggle("unknown", place?.word === UNK);
    Object.assign(chip.style, place ? shade(place.bits) : { background: "", color: "" });
    chip.title = !place ? "half typed" : `${place.bits.toFixed(1)} bits: 1 in ${Math.round(2 ** place.bits).toLocaleString("en")}` +
      (place.word === UNK ? "; unknown, read as <unk>" : "");
    chip.onclick = () => { now.picked = place && k + 1; show(); };
  });
  const bits = now.path.slice(1).map(place => place.bits), mean = bits.reduce((a, b) => a + b, 0) / bits.length;
  const unknown = now.path.filter(place => place.word === UNK).length, one = now.path[here];
  $("surprise").textContent = !bits.length ? "Every word that you type gets a colour: the more orange, the less the network expected it." :
    `“${here ? shownPlace(one) : "⏎"}”: ${one.bits.toFixed(1)} bits. All ${bits.length} words: ${mean.toFixed(1)} bits a word, perplexity ` +
    `${(2 ** mean).toPrecision(3)}.` + (unknown ? ` ${unknown} unknown, underlined.` : "");
}
const pickedAt = () => Math.min(now.picked ?? now.path.length - 1, now.path.length - 1);

function held(place) { return place.states[now.layer][memory]; }
function showInside() {
  const at = pickedAt(), place = now.path[at], gates = place.gates[now.layer];
  $("inside").textContent = `Inside, at “${shownPlace(place)}”: unit ${now.unit}` + (cells.length > 1 ? ` of layer ${now.layer}` : "");
  const size = data.hidden_sizes[now.layer];
  $("unit").max = size - 1;
  if (+$("unit").value !== now.unit) $("unit").value = now.unit;
  showMeters(place, gates);
  showAll(place, size);
  showChart(at);
}
function showMeters(place, gates) {
  const rows = [...Object.entries(data.gates).map(([name, gate]) => ({ ...gate, value: gates[name][now.unit],
    signed: gate.signed })), { title: data.memory, colour: theme.ink, meaning: "what the unit holds after this word",
    value: held(place)[now.unit], signed: true }];
  while ($("meters").children.length < rows.length) $("meters").append(element("div", { className: "meter" }, element("span", {}),
    element("div", {}, element("i", {}), element("i", {})), element("output", {}), element("div", { className: "meaning" })));
  rows.forEach(({ title, colour, meaning, value, signed }, k) => {
    const [name, box, number, small] = $("meters").children[k].children, [bar, middle] = box.children;
    const share = signed ? Math.min(1, Math.abs(value) / Math.max(1, mostHeld(k === rows.length - 1))) / 2 : Math.min(1, value);
    name.textContent = title;
    small.textContent = meaning;
    Object.assign(bar.style, { background: colour, width: `${100 * share}%`, left: signed ? `${50 - (value < 0 ? 100 * share : 0)}%` : "0" });
    middle.className = signed ? "middle" : "";
    number.textContent = value.toFixed(2);
  });
}
// The largest size of what the unit holds anywhere in the text: the width of its scale.
const mostHeld = isMemory => isMemory ? Math.max(...now.path.map(place => Math.abs(held(place)[now.unit]))) : 1;

// Asking for a width makes the browser lay the page out, so it is asked only when the window changes.
function measure() { now.width = $("chart").clientWidth; }

let side = 1;                                               // squares in a row of the picture of all units
function showAll(place, size) {
  const canvas = $("all"), values = held(place), pen = canvas.getContext("2d");
  side = Math.ceil(Math.sqrt(size * 1.6));
  const cell = Math.max(4, Math.floor(720 / side)), rows = Math.ceil(size / side);
  canvas.width = cell * side;
  canvas.height = cell * rows;
  const [page, low, high] = [theme.soft, theme.low, theme.high].map(channels);
  const most = Math.max(1, [...values].map(Math.abs).sort((a, b) => a - b)[Math.floor(0.98 * (size - 1))]);
  values.forEach((value, unit) => {
    pen.fillStyle = `rgb(${mixed(page, value < 0 ? low : high, Math.min(1, Math.abs(value) / most))})`;
    pen.fillRect(unit % side * cell, Math.floor(unit / side) * cell, cell - 1, cell - 1);
  });
  pen.strokeStyle = theme.ink;
  pen.lineWidth = 3;
  pen.strokeRect(now.unit % side * cell + 1, Math.floor(now.unit / side) * cell + 1, cell - 3, cell - 3);
  $("all-title").textContent = `The ${data.memory} of all ${size} units after “${shownPlace(place)}”`;
}
function unitAt(event) {
  const canvas = $("all"), box = canvas.getBoundingClientRect(), cell = box.width / side;
  const unit = Math.floor((event.clientY - box.top) / cell) * side + Math.floor((event.clientX - box.left) / cell);
  return unit >= 0 && unit < data.hidden_sizes[now.layer] ? unit : null;
}
function pickUnit(unit) {
  if (unit === null || Number.isNaN(unit)) return;
  now.unit = Math.max(0, Math.min(data.hidden_sizes[now.layer] - 1, Math.round(unit)));
  showInside();
}
// The unit that holds most from a while ago: what it held then, times what its gate kept of it at every word since.
function pickKeeper() {
  if (!data.keep_gate) return pickChanged();
  const at = pickedAt(), since = now.path.slice(Math.max(1, at - LONG_AGO + 1), at + 1);
  if (!since.length) return pickChanged();
  const gates = since.map(place => place.gates[now.layer][data.keep_gate]);
  pickUnit(largest(gates.reduce(times, held(since[0].before).map(Math.abs))));
}
function pickChanged() {                                    // the unit that the word at hand changed most
  const place = now.path[pickedAt()], before = place.before ? held(place.before) : zeroStates()[now.layer][memory];
  pickUnit(largest(minus(held(place), before).map(Math.abs)));
}
const largest = values => values.indexOf(Math.max(...values));
function showChart(at) {
  const svg = $("chart"), first = Math.max(0, Math.min(at - Math.floor(CHART_WORDS / 2), now.path.length - CHART_WORDS));
  const places = now.path.slice(first, first + CHART_WORDS), W = Math.max(260, now.width), H = 210, left = 30, bottom = 58;
  const values = places.map(place => held(place)[now.unit]), low = Math.min(0, ...values), high = Math.max(1, ...values);
  const wide = (W - left - 8) / Math.max(places.length, 8);
  const x = t => left + wide * (t + 0.5), y = v => 8 + (H - bottom - 8) * (high - v) / (high - low);
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.replaceChildren(drawn("rect", { x: x(at - first) - wide / 2, y: 4, width: wide, height: H - bottom, fill: "var(--soft)" }),
    drawn("line", { x1: left, x2: W - 8, y1: y(0), y2: y(0), stroke: "var(--line)" }));
  places.forEach((place, t) => {
    const token = now.tokens[first + t], label = token === words[EOS] ? "⏎" : token;
    if (t % Math.ceil(13 / wide) === 0) svg.append(drawn("text", { x: x(t), y: H - bottom + 14, "text-anchor": "end",
      transform: `rotate(-45 ${x(t)} ${H - bottom + 14})` }, label.length > 9 ? label.slice(0, 8) + "…" : label));
  });
  for (const v of new Set([low, 0, high])) svg.append(drawn("text", { x: left - 4, y: y(v) + 4, "text-anchor": "end" }, +v.toFixed(1)));
  const line = (points, colour, width) => {
    svg.append(drawn("polyline", { fill: "none", stroke: colour, "stroke-width": width, "stroke-linejoin": "round",
      points: points.map((v, t) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join(" ") }));
    const t = at - first;
    if (points[t] !== undefined) svg.append(drawn("circle", { cx: x(t), cy: y(points[t]), r: width + 1, fill: colour }));
  };
  const plain = Object.entries(data.gates).filter(([, gate]) => !gate.signed);
  for (const [name, gate] of plain) line(places.map(place => place.gates[now.layer][name][now.unit]), gate.colour, 1.4);
  line(values, "var(--ink)", 3);
}

// --- listening ------------------------------------------------------------------------------------------

// Writes some words, each drawn by its probability.
function writeOn(count) {
  if (!count) return;
  if (now.path.length < now.wanted.length) { now.writing = setTimeout(() => writeOn(count), 30); return; }
  const place = now.path.at(-1), scores = scoresAt(place), open = 1 - Math.exp(scores[UNK]);
  let rest = Math.random() * open, id = EOS;
  for (let k = 1; k < scores.length && rest > 0; k++) { id = k; rest -= Math.exp(scores[k]); }
  now.half = null;
  take(id);
  now.writing = setTimeout(() => writeOn(count - 1), 120);
}
function stopWriting() { clearTimeout(now.writing); now.writing = 0; }

function listen() {
  text.addEventListener("input", () => { stopWriting(); changed(); });
  document.addEventListener("selectionchange", () => {
    if (document.activeElement !== text || text.selectionEnd === now.caret) return;
    now.caret = text.selectionEnd;
    changed();
  });
  text.addEventListener("keydown", event => {
    if (event.key === "Tab" && !event.shiftKey && !now.leaving && now.first !== null && !event.isComposing) {
      event.preventDefault();
      stopWriting();
      take(now.first);
    }
    now.leaving = event.key === "Escape";
  });
  $("write-on").onclick = () => { stopWriting(); text.setSelectionRange(text.value.length, text.value.length); changed(); writeOn(12); };
  $("clear").onclick = () => { stopWriting(); text.value = ""; changed(); text.focus(); };
  $("unit").oninput = () => $("unit").value === "" || pickUnit(+$("unit").value);
  $("layer").onchange = () => { now.layer = +$("layer").value; now.unit = Math.min(now.unit, data.hidden_sizes[now.layer] - 1); showInside(); };
  $("keeper").onclick = pickKeeper;
  $("keeper").hidden = !data.keep_gate;
  $("changed").onclick = pickChanged;
  $("all").onclick = event => pickUnit(unitAt(event));
  $("all").onmousemove = event => { const unit = unitAt(event);
    $("all").title = unit === null ? "" : `unit ${unit}: ${held(now.path[pickedAt()])[unit].toFixed(2)}`; };
  addEventListener("resize", () => { measure(); showInside(); });
  addEventListener("hashchange", fromAddress);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { $("words").replaceChildren(); tell(); show(); });
}
function fromAddress() {                                    // page.html#a text: a link to a text
  let wanted = location.hash.slice(1);
  try { wanted = decodeURIComponent(wanted); } catch { /* typed by hand, with a % */ }
  if (!wanted) return changed();
  text.value = wanted.slice(0, text.maxLength);
  text.setSelectionRange(text.value.length, text.value.length);
  changed();
}
function tell() {                                           // what does not change with the text
  readTheme();
  $("scale").style.background = `linear-gradient(to right, ${theme.card}, ${theme.low})`;
  const key = (name, colour) => element("span", {}, element("i", { style: { background: colour } }), name);
  $("key").replaceChildren(key(data.memory, "var(--ink)"), ...Object.values(data.gates).filter(gate => !gate.signed)
    .map(gate => key(gate.title, gate.colour)));
}
$("model").textContent = `This one is ${data.model}. ${data.weights}`;
$("equations").textContent = data.equations;
$("gates").append(...Object.values(data.gates).flatMap(gate => [element("dt", { textContent: gate.title }),
  element("dd", { textContent: gate.meaning })]));
$("layer").append(...data.hidden_sizes.map((_, layer) => element("option", { value: layer, textContent: layer, selected: layer === now.layer })));
$("layer").parentElement.hidden = data.hidden_sizes.length === 1;
if (data.examples.length) $("examples").append("Or begin with", ...data.examples.map(example => element("button", { type: "button",
  textContent: example, onclick: () => { stopWriting(); text.value = `${example} `; text.setSelectionRange(text.value.length, text.value.length);
  changed(); pickKeeper(); text.focus(); } })));
tell();
measure();
listen();
fromAddress();
pickKeeper();
