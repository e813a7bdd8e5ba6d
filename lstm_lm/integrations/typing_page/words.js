// How typed text becomes words: the twin of lstm_lm/corpus/typed_text.py. The expressions that split are those of the
// model's tokenizer.json, written for JavaScript when the page was made.

const SPACES = /[\p{White_Space}\x1c-\x1f]+/u;
const idOf = word => ids.get(word) ?? UNK;

function recipe({ steps, pattern }) {                       // returns a function: text -> words
  const normalize = steps.map(({ kind, pattern, content }) => {
    if (kind === "lowercase") return text => Array.from(text, letter => letter.toLowerCase()).join("");
    if (kind === "nfc") return text => text.normalize("NFC");
    const expression = new RegExp(pattern, "gu");
    return text => text.replace(expression, () => content);
  });
  const word = new RegExp(pattern, "gu");
  return { normalize: text => normalize.reduce((text, change) => change(text), text),
           split: text => text.match(word) ?? [] };
}
const corpus = recipe(data.tokenizer), natural = data.natural && recipe(data.natural);
const naturalWords = text => natural.split(natural.normalize(text));

const spelled = new Map();                                  // chunk -> its words, so that each is split once
function splitText(text) {                                  // what Vocabulary.split_text does, for one line
  // no rule looks across white space, so every chunk is split by itself
  const chunks = text.split(SPACES).filter(chunk => chunk);
  return chunks.flatMap((chunk, position) => {
    const isLast = position === chunks.length - 1, key = `${+isLast}${chunk}`;
    if (!spelled.has(key)) {
      if (spelled.size > 20000) spelled.clear();
      spelled.set(key, natural ? spellOut(corpus.normalize(chunk), isLast) : corpus.split(corpus.normalize(chunk)));
    }
    return spelled.get(key);
  });
}
// The words of a typed text as the network reads them: an <eos> before every line.
const promptWords = text => text.split("\n").flatMap(line => [words[EOS], ...splitText(line)]);

function spellOut(text, isLast) {
  const chunks = text.split(SPACES).filter(chunk => chunk);
  return chunks.flatMap((chunk, position) => spellChunk(chunk, isLast && position === chunks.length - 1));
}
function spellChunk(chunk, isLast) {
  const pieces = naturalWords(chunk);
  if (ids.has(chunk)) return pieces.length > 1 && endsSentence(chunk, isLast) ? [chunk.slice(0, -1), chunk.slice(-1)] : [chunk];
  const splitsNT = !ids.has("n't") && ids.has("'t");        // don 't instead of do n't
  for (let at = 1; at < pieces.length; at++) {
    const piece = pieces[at], before = pieces[at - 1];
    if (splitsNT && piece.toLowerCase() === "n't" && /[\p{L}\p{N}]$/u.test(before)) {
      pieces[at - 1] = before + piece[0];
      pieces[at] = piece.slice(1);
    } else if (piece === "-" && ids.has("@-@") && at + 1 < pieces.length) pieces[at] = "@-@";
  }
  return pieces.flatMap(knownForm);
}
function endsSentence(chunk, isLast) {                      // whether the mark at the end is more likely the sentence's
  const rest = chunk.slice(0, -1), mark = chunk.slice(-1);
  const isInitial = mark === "." && /^\p{Uppercase}$/u.test(rest) && rest !== "I" && !isLast;
  const restIsMoreFrequent = ids.has(rest) && ids.get(rest) < ids.get(chunk);
  return ".,!?;:".includes(mark) && ids.has(mark) && restIsMoreFrequent && !isInitial;
}
function knownForm(piece) {                                 // the form that the vocabulary has
  const hyphen = ["@-@", "-"].find(mark => ids.has(mark)), at = piece.indexOf("'");
  const left = piece.slice(0, at), right = piece.slice(at);
  if (ids.has(piece)) return [piece];
  if (hyphen && piece.replace(/^-+|-+$/g, "").includes("-"))
    return piece.split("-").flatMap((part, number) => [...(number ? [hyphen] : []), ...knownForm(part)]);
  if (ids.has("@,@") && ids.has("@.@") && /(?<=\p{Nd})[.,](?=\p{Nd})/u.test(piece))
    return piece.replace(/(?<=\p{Nd})([.,])(?=\p{Nd})/gu, " @$1@ ").split(SPACES);
  if (at > 0 && ids.has(left) && ids.has(right)) return [left, right];
  if (piece.endsWith(".") && ids.has(piece.slice(0, -1))) return [piece.slice(0, -1), "."];
  return [piece];
}

// --- the other way: how a word is written into the text ----------------------------------------------

const tightBefore = new Set(data.tight_before), tightAfter = new Set(data.tight_after);
const unspaced = data.unspaced && new RegExp(`^[${data.unspaced}]`, "u");
const shownWord = id => id === EOS ? "⏎" : data.shown[id] ?? words[id];
function isJoined(before, id) {                             // whether no space stands between two words
  if (tightAfter.has(idOf(before)) || tightBefore.has(id)) return true;
  return Boolean(unspaced && unspaced.test(before) && unspaced.test(words[id]));
}
// The end of the text if it is a word that may be half typed; the words that begin so, the most frequent first.
function halfTyped(text) {
  const last = splitText(text.slice(text.lastIndexOf("\n") + 1)).at(-1);
  if (!last || !/[\p{L}\p{M}\p{N}]$/u.test(text) || !text.toLowerCase().endsWith(last.toLowerCase())) return null;
  const begin = word => words.flatMap((other, id) => id > EOS && other.startsWith(word) ? [id] : []);
  const lower = last.toLowerCase(), exact = begin(last);
  const among = exact.length ? exact : words.flatMap((other, id) => id > EOS && other.toLowerCase().startsWith(lower) ? [id] : []);
  return { word: last, among };
}
