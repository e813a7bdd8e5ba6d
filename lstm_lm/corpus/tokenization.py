"""What counts as a word: the two tokenisations, ``whitespace`` and ``words``.

They are made of parts of the `tokenizers` library alone, so tokenizer.json describes them fully.

``whitespace`` is for text that is already tokenised. Words stand between white space (where
`str.split` splits) and are not changed. A literal ``<unk>`` is the unknown word. A literal
``<eos>`` becomes ``<unk>``, because only line ends are ``<eos>``.

``words`` is for natural text. The text is normalised, and then each chunk (what stands between
white space) is split by the rules of one version; see `word_rules`.

`Vocabulary.decode` therefore does not return the original text but its normalised form: these
words joined by single spaces, with ``<unk>`` for words that are not in the vocabulary and ``<eos>``
at the end of each line. Nothing else is lost, added or reordered (tests/test_round_trip.py).

No rule looks across white space, so a text may be split and counted chunk by chunk.

If the text is folded to lower case, that happens first, in both tokenisations.

The rules have a version. A new vocabulary uses `LATEST_VERSION`; a model keeps the version that it
was trained with. The version is in tokenizer.json, as a comment at the start of the expression that
splits: ``(?#lstm_lm tokenizer, version 2)``. A file without the comment has version 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import PreTokenizer, Split
from tokenizers.processors import TemplateProcessing

from lstm_lm.corpus.word_rules import (
    LATEST_VERSION,
    RULES,
    SPACE,
    has_elisions,
    is_written_without_spaces,
)
from lstm_lm.errors import RunDirectoryError

TOKENIZATIONS = ("whitespace", "words")
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
NO_WORDS = {UNKNOWN: 0, END_OF_LINE: 1}  # the ids of a vocabulary without words

_VERSION_COMMENT = "(?#lstm_lm tokenizer, version {})"
_VERSION = re.compile(r"\(\?#lstm_lm tokenizer, version (\d{1,9})\)")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what counts as a word.

    Attributes:
        tokenization: ``whitespace`` or ``words``.
        lowercase: whether text is folded to lower case.
        version: of the rules.
        separate_characters: whether text of scripts without spaces between words, such as Chinese,
            Japanese and Thai, is split into characters. Only for ``words`` from version 2 on.
        elisions: whether the elisions of French and Italian are split (``l' homme``). Only for
            ``words`` from version 2 on.
    """

    tokenization: str
    lowercase: bool = False
    version: int = LATEST_VERSION
    separate_characters: bool = False
    elisions: bool = False


def all_recipes(version: int) -> list[Recipe]:
    """Returns every recipe that a version has."""
    switches = (False, True)
    recipes = [Recipe("whitespace", lowercase, version) for lowercase in switches]
    options = switches if RULES[version].has_options else (False,)
    return recipes + [
        Recipe("words", lowercase, version, separate_characters, elisions)
        for lowercase in switches
        for separate_characters in options
        for elisions in options
    ]


def recipe_for_text(recipe: Recipe, sample: Iterable[str]) -> Recipe:
    """Returns a recipe with the options that fit a text.

    Args:
        recipe: its tokenization, lowercase and version are kept.
        sample: the first lines of the text.
    """
    if recipe.tokenization != "words" or not RULES[recipe.version].has_options:
        return recipe
    text = "\n".join(sample)
    return replace(
        recipe,
        separate_characters=is_written_without_spaces(text),
        elisions=has_elisions(text),
    )


def build_tokenizer(ids: dict[str, int], recipe: Recipe) -> Tokenizer:
    """Returns a complete tokenizer, which ends every line with ``<eos>``.

    Args:
        ids: word -> id, including ``<unk>`` and ``<eos>``.
        recipe: what counts as a word.
    """
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = build_normalizer(recipe)
    tokenizer.pre_tokenizer = build_pre_tokenizer(recipe)
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END_OF_LINE}", special_tokens=[(END_OF_LINE, ids[END_OF_LINE])]
    )
    return tokenizer


@lru_cache(maxsize=64)
def recipe_json(recipe: Recipe) -> str:
    """Returns tokenizer.json without its words: everything that decides what counts as a word."""
    return build_tokenizer(NO_WORDS, recipe).to_str()


@lru_cache(maxsize=64)
def build_normalizer(recipe: Recipe) -> Normalizer:
    """Returns the part that changes the text before it is split."""
    steps: list[Normalizer] = [Lowercase()] if recipe.lowercase else []
    if recipe.tokenization == "whitespace":
        steps.append(Replace(Regex(f"(?<![^{SPACE}])<eos>(?![^{SPACE}])"), UNKNOWN))
    else:
        steps += RULES[recipe.version].normalizers()
    return NormalizerSequence(steps)


@lru_cache(maxsize=64)
def build_pre_tokenizer(recipe: Recipe) -> PreTokenizer:
    """Returns the part that splits the normalised text into words."""
    rules = RULES[recipe.version]
    if recipe.tokenization == "whitespace":
        pattern = f"[^{SPACE}]+"
    else:
        pattern = rules.pattern(recipe.separate_characters, recipe.elisions)
    comment = _VERSION_COMMENT.format(recipe.version) if rules.is_named else ""
    return Split(Regex(comment + pattern), behavior="removed", invert=True)


def parse_tokenizer(text: str, name: str = "tokenizer.json") -> tuple[list[str], Recipe]:
    """Reads the content of tokenizer.json.

    Args:
        text: the content.
        name: the file, for the message.

    Returns:
        Its words (by id), and what counts as a word.

    Raises:
        RunDirectoryError: the text is damaged, or was written by another program or version.
    """
    try:
        found = json.loads(text)
        ids = found["model"]["vocab"]
        found["model"]["vocab"] = NO_WORDS
        # Read and written by the installed `tokenizers`: so a file of another version of that
        # library differs only if it means something else.
        without_words = Tokenizer.from_str(json.dumps(found)).to_str()
        words = sorted(ids, key=ids.__getitem__)
        "".join(words).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{name}: damaged (not JSON in UTF-8); copy it again or train again"
        ) from error
    except Exception as error:
        raise RunDirectoryError(
            f"{name}: not a tokenizer, or damaged; copy it again or train again"
        ) from error
    complete = [ids[word] for word in words] == list(range(len(ids)))
    if words[:2] != [UNKNOWN, END_OF_LINE] or not complete:
        raise RunDirectoryError(
            f"{name}: its ids must be 0 for <unk>, 1 for <eos>, then one number for each word; it "
            "is damaged, or written by another program"
        )
    version = _version_of(found)
    if version not in RULES:
        raise RunDirectoryError(
            f"{name}: has version {version} of the tokenizer's rules, and this program knows "
            f"versions {min(RULES)} to {max(RULES)}; install the lstm_lm that wrote it"
        )
    for recipe in all_recipes(version):
        if without_words == recipe_json(recipe):
            return words, recipe
    raise RunDirectoryError(
        f"{name}: written by another program or version, which splits text into words in "
        "another way; train again, or use the version that wrote it"
    )


def _version_of(tokenizer: Any) -> int:
    """Returns the version that the parsed content of a tokenizer.json names; 1 if it names none."""
    try:
        found = _VERSION.match(tokenizer["pre_tokenizer"]["pattern"]["Regex"])
    except (TypeError, KeyError):
        return 1
    return int(found[1]) if found else 1
