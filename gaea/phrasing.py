"""How a text commits itself: refusals, guesses, examples, sentences, and the confidence it states.

Patterns of English as vision-language models write it; they were checked against thousands of real answers. All have
bounded repetitions, so that they take time linear in the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

# ── refusing and committing ─────────────────────────────────────────────────

REFUSAL = re.compile(
    r"""\b(?:can\s?not|can['’]t|could\s?n['’o]t|unable\sto|not\s(?:able|possible|feasible)\sto|impossible\sto|won['’]t
    |difficult\sto|hard\sto|challenging\sto|do(?:es)?\s?n['’o]t\s(?:provide|contain|have|include|know)|not\senough
    |insufficient|lacks?\b|no\s(?:idea|clear|distinctive|definitive|specific|way)|not\ssure|unknown|undetermined
    |sorry|decline|refuse|without\s(?:more|further|additional))\b""",
    re.IGNORECASE | re.VERBOSE,
)
_FIRM = re.compile(
    r"""\b(?:(?:i|we)(?:\sam|['’]m)?\s(?:can\s?not|can['’]t|could\snot|couldn['’]t|unable|not\sable|won['’]t|sorry|would\snot)
    |i['’]m\s(?:sorry|unable|not\sable|afraid)|not\spossible\sto|impossible\sto|unknown|undetermined|no\sidea
    |don['’]t\sknow|cannot\s(?:be\s)?(?:determined?|identif|locate|provide|tell|say))""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_CANDIDATES = re.compile(r'"candidates"\s{0,3}:\s{0,3}\[\s{0,3}\]')
COMMITMENT = re.compile(
    r"""\b(?:best|final|educated|my|plausible|reasonable|rough|broad|general|likely)\s(?:\w{1,12}\s)?(?:guess|answer|estimate)
    |\bmost\s(?:likely|probable|probably)\b|\bif\si\shad\sto\b|\bi(?:\s|['’]d\s|['’]ll\s|\swould\s|\swill\s)(?:guess|say|think|believe|estimate|bet)\b
    |\bin\sconclusion\b|\bfinal\slocation\b|\bthis\sis\s(?:in|likely|probably)\b|\b(?:location|place|answer|guess)[*_]{0,3}\s?(?::|is\b)""",
    re.IGNORECASE | re.VERBOSE,
)
EXAMPLE = re.compile(
    r"\b(?:for\sexample|e\.g\.|for\sinstance|such\sas|examples?|includ(?:e|es|ing)|anywhere|could\sbe\sany|common\s(?:in|to)|typical\s(?:of|in)"
    r"|reminiscent|similar\sto|unlike|style|influence|not\s(?:in|from)|rather\sthan|ruled?\sout|instead\sof)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\bSt\.)(?<!\d\.)(?<!\bi\.e\.)\s+(?=[\W\d]{0,6}[A-Z])|\n+")


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence or line stands, as (start, end)."""
    cuts = [0, *(m.end() for m in _SENTENCE.finditer(text)), len(text)]
    return [(a, b) for a, b in itertools.pairwise(cuts) if text[a:b].strip()]


def declines(text: str, committed: bool) -> bool:
    """Whether a text without coordinates or fields declines: firmly anywhere, or softly and without committing."""
    return bool(_FIRM.search(text) or _NO_CANDIDATES.search(text)) or (not committed and bool(REFUSAL.search(text)))


# ── weights ─────────────────────────────────────────────────────────────────

_SHARE = re.compile(
    r"""(?<![0-9.])([0-9]{1,3}(?:\.[0-9]{1,4})?)\s?%
    |(?:confidence|probability|likelihood|weight|score|certainty)["'*_\s]{0,4}(?:level\s)?[:=]\s{0,2}["'*_]{0,3}(0?\.[0-9]{1,4}|1(?:\.0{1,4})?|[0-9]{1,3})(?![0-9.%])""",
    re.IGNORECASE | re.VERBOSE,
)


def _share(text: str, span: tuple[int, int], after: int, before: int) -> float | None:
    """The share stated for a candidate: in the text up to the next one, or on its own line in front of it."""
    if after < len(text):  # what stands in front of the next one on its line is said of that one
        after = max(text.rfind("\n", span[1], after), span[1]) if "\n" in text[span[1] : after] else after
    behind = text[span[1] : min(after, span[1] + 200)]
    ahead = text[max(before, text.rfind("\n", 0, span[0]) + 1, span[0] - 40) : span[0]]
    match = _SHARE.search(behind) or _SHARE.search(ahead)
    if not match:
        return None
    value = float(match[1] or match[2])
    value = value / 100 if match[1] or value > 1 else value
    return value if 0 <= value <= 1 else None


def weigh(text: str, spans: Sequence[tuple[int, int]]) -> list[float]:
    """Weights of candidates: as stated, else even; they add up to at most one."""
    told = []
    for i, span in enumerate(spans):
        after = spans[i + 1][0] if i + 1 < len(spans) else len(text)
        told.append(_share(text, span, after, spans[i - 1][1] if i else 0))
    known = [w for w in told if w is not None]
    if not known or not sum(known) > 0:
        return [1.0 / len(spans)] * len(spans)
    silent = len(told) - len(known)
    rest = max(1.0 - sum(known), 0.0) / silent if silent else 0.0
    weights = [rest if w is None else w for w in told]
    total = max(sum(weights), 1.0)
    return [w / total for w in weights]
