"""Where a foreign sentence may stand in a story.

The text alone decides it. In both worlds a full stop ends a sentence and stands nowhere else, what
is opened is closed in the same story, and a story ends as soon as nothing waits for its return. So
after every sentence but the last one, outside quotations and brackets, something said before is
still needed later (lessons are the exception: their sentences do not depend on each other).
"""

from __future__ import annotations

import re

# A quotation or a bracket together with the space before it, or the end of a sentence.
_QUOTATION_OR_END = re.compile(r""" "[^"]*"| \([^)]*\)|\.(?= [^"(])""")


def sentence_ends(text: str) -> tuple[int, ...]:
    """Returns where a foreign sentence may stand in a story.

    Args:
        text: one story in natural typography, without its line end.

    Returns:
        Offsets of characters in `text`, from small to large. At each of them a sentence, or a
        quotation of sentences, ends and a space follows: ``text[:end] + " " + sentence +
        text[end:]`` is a well-formed text. There is no such place at the end of the story, inside a
        quotation or a bracket, or between a sentence and the quotation that it announces.
    """
    found = [match.end() for match in _QUOTATION_OR_END.finditer(text)]
    return tuple(end for end in found if end < len(text))
