r"""The tokenizer's regular expressions, for a browser.

tokenizer.json has expressions of the library Oniguruma. JavaScript writes some things otherwise,
with the flag ``u``:

| Oniguruma | JavaScript |
|---|---|
| ``(?#comment)`` | nothing |
| ``\s`` | ``\p{White_Space}``: its own ``\s`` has a byte order mark, and lacks U+0085 |
| ``\z`` | ``$`` |
| ``[a-z&&[^x]]`` | ``(?:(?![x])[a-z])`` |
| ``(?>x)`` | ``(?=(?<atom1>x))\k<atom1>`` |

The replacement of ``[a-z&&[^x]]`` reads one character, too: the first group looks ahead.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lstm_lm.corpus.vocabulary import Vocabulary

_TOKEN = re.compile(
    r"(?P<comment>\(\?#[^)]*\))|(?P<atom>\(\?>)|(?P<escape>\\p\{\w+\}|\\.)|(?P<class>\[)"
    r"|(?P<open>\()|(?P<close>\))|(?P<other>.)",
    re.DOTALL,
)
_ESCAPES = {r"\s": r"\p{White_Space}", r"\z": "$"}


def browser_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """What a browser needs to split text: the steps of normalisation, and the pattern of a word."""
    found = json.loads(vocabulary.to_json())
    steps = [_step(step) for step in found["normalizer"]["normalizers"]]
    return {"steps": steps, "pattern": _pattern(found["pre_tokenizer"]["pattern"])}


def _step(step: dict[str, Any]) -> dict[str, str]:
    if step["type"] == "Replace":
        return {
            "kind": "replace",
            "pattern": _pattern(step["pattern"]),
            "content": step["content"],
        }
    return {"kind": step["type"].lower()}


def _pattern(pattern: dict[str, str]) -> str:
    return javascript_pattern(
        pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"])
    )


def javascript_pattern(pattern: str) -> str:
    """Translates an expression of the tokenizer's rules; see the table above."""
    found, groups, atoms, at = [], [], 0, 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        assert token is not None
        kind, text, at = token.lastgroup, token[0], token.end()
        if kind == "comment":
            continue
        if kind == "class":
            text, at = _class(pattern, at - 1)
        elif kind == "atom":
            atoms += 1
            text = f"(?=(?<atom{atoms}>"
            groups.append(rf"))\k<atom{atoms}>")
        elif kind == "open":
            groups.append(")")
        elif kind == "close":
            text = groups.pop()
        elif kind == "escape":
            text = _ESCAPES.get(text, text)
        found.append(text)
    return "".join(found)


def _class(pattern: str, start: int) -> tuple[str, int]:
    """Translates the character class that begins at ``start``; returns it and where it ends."""
    at = start + (2 if pattern[start + 1] == "^" else 1)
    content, excluded = "", ""
    while pattern[at] != "]":
        if pattern.startswith("&&[^", at):
            inner, at = _class(pattern, at + 2)
            excluded = f"[{inner[2:-1]}]"
        elif pattern[at] == "\\":
            token = _TOKEN.match(pattern, at)
            assert token is not None
            content, at = content + _ESCAPES.get(token[0], token[0]), token.end()
        else:
            content, at = content + pattern[at], at + 1
    found = pattern[start : start + 1 + (pattern[start + 1] == "^")] + content + "]"
    return (f"(?:(?!{excluded}){found})" if excluded else found), at + 1
