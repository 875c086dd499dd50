"""The example skill `words` in Python: one class for the interface of wit/words.wit. A `result` is what is returned, or an `Err` raised."""

import re
from collections import Counter
from typing import List, Optional

from componentize_py_types import Err
from wit_world.exports import Words as Interface
from wit_world.exports.words import Count, Failure_Empty, Failure_TooLong, Summary

WORD = re.compile("[0-9A-Za-z\u0080-\U0010ffff]+")
UPPER = re.compile("[A-Z]+")


def split(text: str) -> List[str]:
    """The words of a text, in lower case."""
    return [UPPER.sub(lambda found: found.group().lower(), word) for word in WORD.findall(text)]


class Words(Interface):
    def count_words(self, text: str, top: Optional[int]) -> Summary:
        words = split(text)
        if not words:
            raise Err(Failure_Empty())
        # Strings compare by code points.
        counts = sorted(Counter(words).items(), key=lambda count: (-count[1], count[0]))
        is_tie = len(counts) > 1 and counts[0][1] == counts[1][1]
        lines = text.count("\n") + (0 if text.endswith("\n") else 1)
        return Summary(
            words=len(words),
            lines=lines,
            favourite=None if is_tie else counts[0][0],
            top=[Count(word, times) for word, times in counts[: 3 if top is None else top]],
        )

    def slug(self, title: str, max_length: Optional[int]) -> str:
        words = split(title)
        if not words:
            raise Err(Failure_Empty())
        max_length = 40 if max_length is None else max_length
        if len(words[0]) > max_length:
            raise Err(Failure_TooLong(len(words[0])))
        slug = words[0]
        for word in words[1:]:
            if len(slug) + 1 + len(word) > max_length:
                break
            slug += "-" + word
        return slug
