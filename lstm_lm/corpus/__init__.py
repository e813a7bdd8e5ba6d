"""From text to word ids.

`Corpus` (in `corpus`) is what the rest of the package uses. A line of text passes through:

    sources -> vocabulary -> tokens -> windows

- `sources`: where the lines come from: files, the Hugging Face hub, or stories;
- `text_files` finds files, folders, patterns and archives; `readers` reads their lines, with
  `decoding` and `encodings` (bytes to text), `formats` (tables) and `layout` (wrapped lines);
- `tokenization`: what counts as a word; `word_rules`: the rules, by version;
- `vocabulary`: the words of train and their ids;
- `tokens`: the ids of a split, encoded once and memory-mapped;
- `windows`: cuts the ids into batches for truncated back-propagation;
- `typed_text`: converts between the way people type and the way a corpus spells it;
- `word_report`: what a training prints about its words.
"""
