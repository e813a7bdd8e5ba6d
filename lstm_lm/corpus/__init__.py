"""From text to ids: where lines come from, what counts as a word, and how ids are kept on disk.

The way of one line: `sources` yields it (`text_files` from disk, `biographies` from our generator), `vocabulary` makes
words and ids of it by the rules of `tokenization`, `tokens` keeps the ids memory-mapped in a `cache`, `windows` cuts
them for back-propagation. `typed_text` stands between a person's English and a tokenised corpus's.
"""
