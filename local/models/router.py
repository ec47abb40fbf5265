"""Which tools a message could possibly be about. Cheap, generous, and never the last word: the model still decides.

A small model that is offered a calculator will calculate; so it is offered one only where there is something to
calculate. Tools this module knows nothing of are always offered.
"""

from __future__ import annotations

import re

_SHORT_WORDS = 6

_NUMBER = (
    r"\d[\d.,]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[- ](?:one|two|three|"
    r"four|five|six|seven|eight|nine))?|hundred|thousand|million|billion|dozen"
)
_NUMBERS = re.compile(rf"(?<![\w])(?:{_NUMBER})(?!\w)", re.IGNORECASE)
_REMARKS_ON_ONE_NUMBER = re.compile(
    r"%|\b(?:per ?cent|squared?|cubed?|root|half|double|twice|triple|thrice|factorial|power|logarithm)\b", re.IGNORECASE
)
_TIME = re.compile(
    r"\b(?:time|timezone|clock|hour|date|day|weekday|month|year|how late"
    r"|horas?|d[ií]a|fecha|hoy|hoje|data|heures?|jour|date|uhr|uhrzeit|zeit|sp[äa]t|datum|tag|ora|ore|giorno|tijd|laat)\b",
    re.IGNORECASE,
)
_DURATION = re.compile(r"\bhow (?:many|long|much|often|old)\b(?!.*\b(?:until|till|since|left)\b)", re.IGNORECASE)
_SELF = re.compile(
    r"\b(?:me|my|mine|myself|i|i'm|moi|mon|ma|mes|je|mich|mir|mein|meine|ich|mi|m[ií]o|yo|meu|minha|eu|mio|mia|io)\b",
    re.IGNORECASE,
)
_FACT = re.compile(
    r"\b(?:know|names?|called|who am i|time ?zone|languages?|profile|preferences?|prefer|wishes|job|work|living"
    r"|about me|sais|nom|appelle|langue|wei(?:ß|ss)t|hei(?:ß|ss)e|sprache|sabes|nombre|llamo|idioma|nome|chamo)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\?\s*$|\b(?:what|what's|who|which|where|do you|does|can|could|tell|say|give|remind|how|and|time in|time is it"
    r"|quel|quelle|qui|qué|que|cuál|wie|was|wer|welche[rs]?|che|qual|hoe|wat)\b",
    re.IGNORECASE,
)

_ASKS = re.compile(r"\?\s*$|^\W*(?:what|what's|who|which|where|do|does|can|could|tell|say|remind|how)\b", re.IGNORECASE)


def plausible(message: str, before: str, tools: frozenset[str]) -> frozenset[str]:
    """Those of `tools` that `message` could be about; a short follow-up ("and in Paris?") borrows from `before`."""
    about = message if len(message.split()) > _SHORT_WORDS else f"{before}\n{message}"
    doubts = {
        "calculate": not _is_sum(about),
        "clock": not (_TIME.search(about) and _QUESTION.search(message)) or bool(_DURATION.search(message)),
        "profile": not (_SELF.search(message) and _FACT.search(message) and _ASKS.search(message)),
    }
    return frozenset(tool for tool in tools if not doubts.get(tool, False))


def _is_sum(text: str) -> bool:
    numbers = len(_NUMBERS.findall(text))
    return numbers >= 2 or (numbers == 1 and _REMARKS_ON_ONE_NUMBER.search(text) is not None)
