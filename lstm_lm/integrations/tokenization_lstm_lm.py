"""The tokenizer of a word-level model, for the transformers library.

Typed text becomes words as in `lstm_lm`: a line end is ``<eos>``, one more stands before the text,
and for a model whose corpus came tokenised, the text is spelled out as that corpus spells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from tokenizers import NormalizedString, PreTokenizedString, Regex, Tokenizer
from tokenizers.pre_tokenizers import PreTokenizer
from transformers import PreTrainedTokenizerFast

from lstm_lm.corpus.tokenization import END_OF_LINE, UNKNOWN, Recipe, build_normalizer
from lstm_lm.corpus.typed_text import MARKS_IN_WORDS, display, spell_chunk
from lstm_lm.corpus.word_rules import UNSPACED

_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


class LstmLmTokenizer(PreTrainedTokenizerFast):
    """Typed text -> ids.

    Args:
        *arguments: see `transformers.PreTrainedTokenizerFast`.
        recipe: what counts as a word: the fields of `Recipe`.
        **options: see `transformers.PreTrainedTokenizerFast`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    slow_tokenizer_class = None

    def __init__(
        self, *arguments: Any, recipe: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, recipe=recipe, **options)
        self._recipe = Recipe(**(recipe or {"tokenization": "words"}))
        self._as_saved = self._tokenizer.pre_tokenizer
        self._spell()

    @classmethod
    def convert_to_native_format(cls, **options: Any) -> dict[str, Any]:
        """Leaves ``tokenizer.json`` as it is; transformers 5 would take only its words."""
        options.pop("trust_remote_code", None)
        return options

    def _spell(self) -> None:
        """Lets the tokenizer spell out text, if the corpus came tokenised."""
        if self._recipe.tokenization == "whitespace":
            natural = replace(self._recipe, tokenization="words", lowercase=False)
            speller = _Speller(self.get_vocab(), natural)
            self._tokenizer.pre_tokenizer = PreTokenizer.custom(speller)

    # The part that is written in Python cannot be saved or copied: what is, is the one before it.

    def __getstate__(self) -> dict[str, Any]:
        self._tokenizer.pre_tokenizer = self._as_saved
        try:
            state = self.__dict__.copy()
            state["_tokenizer"] = self._tokenizer.to_str()
            state["_as_saved"] = None
            return state
        finally:
            self._spell()

    def __setstate__(self, state: dict[str, Any]) -> None:
        text = state["_tokenizer"]
        self.__dict__.update(state)
        self._tokenizer = Tokenizer.from_str(text)
        self._as_saved = self._tokenizer.pre_tokenizer
        self._spell()

    def _save_pretrained(self, *arguments: Any, **options: Any) -> Any:
        self._tokenizer.pre_tokenizer = self._as_saved
        try:
            return super()._save_pretrained(*arguments, **options)
        finally:
            self._spell()

    # transformers 5 encodes by the first of these, transformers 4 by the second.

    def _encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any
    ) -> Any:
        if add_special_tokens:
            text, text_pair = self._without_first(text), self._without_first(text_pair)
        return super()._encode_plus(
            text, text_pair, add_special_tokens=add_special_tokens, **options
        )

    def _batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, **options: Any
    ) -> Any:
        if add_special_tokens:
            batch_text_or_text_pairs = self._without_first(batch_text_or_text_pairs)
        return super()._batch_encode_plus(
            batch_text_or_text_pairs, add_special_tokens=add_special_tokens, **options
        )

    def _without_first(self, text: Any) -> Any:
        """Blanks an ``<eos>`` that a caller put before a text, since one is put there anyway.

        Blanks, so that offsets stay as they are.
        """
        if isinstance(text, str):
            return re.sub(f"^{END_OF_LINE}", " " * len(END_OF_LINE), text)
        if isinstance(text, (list, tuple)):
            return type(text)(map(self._without_first, text))
        return text

    def _decode(self, token_ids: Any, skip_special_tokens: bool = False, **unused: Any) -> str:
        """Words -> text as it is printed.

        Without special tokens, ``<eos>`` is a line end, and none stands before or after the text.
        Words without ``<eos>`` before them are the continuation of a text: a space stands before
        them if one is printed there.
        """
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        words = [word for word in self.convert_ids_to_tokens(ids) if word is not None]
        if skip_special_tokens:
            words = [word for word in words if word != UNKNOWN]
        text = self._continuation(words)
        if skip_special_tokens:
            return text.strip("\n")  # padding, too
        first, *others = text.split("\n")
        parts = [first, *(part for line in others for part in (END_OF_LINE, line))]
        return " ".join(filter(None, parts))

    def _continuation(self, words: list[str]) -> str:
        """Joins words as they are printed after another word."""
        is_unspaced = (
            self._recipe.separate_characters and words and _UNSPACED_LETTER.match(words[0])
        )
        before = words[0] if is_unspaced else "a"
        return self.convert_tokens_to_string([before, *words]).removeprefix(before)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Joins words the way they are printed."""
        return display(tokens, self._recipe.separate_characters)


class _Speller:
    """Splits text into the words of a corpus that came tokenised; see `spell_chunk`.

    Args:
        ids: word -> id.
        natural: how natural text is split.
    """

    def __init__(self, ids: Mapping[str, int], natural: Recipe) -> None:
        self._ids, self._natural = ids, natural
        self._normalizer = build_normalizer(natural)

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Splits every part that is not split yet; the `tokenizers` library calls this."""
        parts = [content for content, _, _ in text.get_splits()] + [END_OF_LINE]
        text.split(lambda number, part: list(self._words(part, parts[number + 1] == END_OF_LINE)))

    def _words(self, part: NormalizedString, ends_line: bool) -> Iterator[NormalizedString]:
        chunks = list(re.finditer(r"\S+", part.normalized))
        for chunk, following in zip(chunks, [*chunks[1:], None], strict=False):
            is_last = ends_line if following is None else following[0] == END_OF_LINE
            words = [chunk[0]]
            if chunk[0] != END_OF_LINE:
                words = spell_chunk(chunk[0], self._ids, self._natural, is_last)
            yield from self._places(_cut(part, chunk.start(), chunk.end()), words)

    def _places(self, chunk: NormalizedString, words: list[str]) -> Iterator[NormalizedString]:
        """Finds the words in their chunk, so that each knows its place in the typed text."""
        if "".join(words) != chunk.normalized:
            self._normalizer.normalize(chunk)
        start, text = 0, chunk.normalized
        for word in words:
            start += len(text[start:]) - len(text[start:].lstrip())
            typed = word if text.startswith(word, start) else MARKS_IN_WORDS.get(word, word)
            found = text.find(typed, start)
            if found < 0:  # never seen; its place is then the whole chunk
                place = _cut(chunk, 0, len(text))
                place.replace(Regex("(?s).+"), word)
            else:
                start = found + len(typed)
                place = _cut(chunk, found, start)
                if typed != word:
                    place.replace(typed, word)
            yield place


def _cut(text: NormalizedString, start: int, end: int) -> NormalizedString:
    """A part of a text, which still knows where it was typed."""
    part = text[start:end]
    assert part is not None, f"nothing from {start} to {end}"
    return part
