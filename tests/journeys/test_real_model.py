"""The real local model, asked as the backend asks it: sums, the time, and what was said before.

MODEL_SEEDS sets how many random questions of each kind are asked; each must be answered correctly.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from local.models.store import DEFAULT, ModelStore, WeightsError
from shared.assistant import rules
from shared.assistant.models import PersonContext, Role, SaidBefore
from tests.support import agent as support
from tests.support.agent import Answer, StandIn

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
SEEDS = range(int(os.environ.get("MODEL_SEEDS", "3")))
PLACES = {
    "Tokyo": "Asia/Tokyo",
    "New York": "America/New_York",
    "Sydney": "Australia/Sydney",
    "Paris": "Europe/Paris",
    "São Paulo": "America/Sao_Paulo",
    "Mumbai": "Asia/Kolkata",
    "Los Angeles": "America/Los_Angeles",
    "Nairobi": "Africa/Nairobi",
    "Kathmandu": "Asia/Kathmandu",
    "San Francisco": "America/Los_Angeles",
}
SUMS = ("What is {} plus {}?", "Can you add {} and {} for me?", "How much is {} + {}?")
PRODUCTS = ("What is {} times {}?", "Multiply {} by {}.", "If I buy {} boxes of {} eggs, how many eggs are that?")
TIMES = ("What time is it in {}?", "Tell me the time in {}, please.", "Do you know what time it is in {} right now?")
FACTS = (
    ("My dog is called {}.", "What is my dog's name?", ("Rex", "Bruno", "Luna", "Cleo", "Max", "Nala")),
    ("My sister lives in {}.", "Where does my sister live?", ("Bergen", "Quito", "Lyon", "Osaka", "Dakar")),
    ("My favourite colour is {}.", "Which colour do I like best?", ("green", "orange", "purple", "yellow")),
    ("I'm learning to play the {}.", "Which instrument am I learning?", ("violin", "trumpet", "cello", "flute")),
)
BETWEEN = (
    ("How do I boil an egg?", "Put it in boiling water for about ten minutes."),
    ("Who wrote Hamlet?", "Shakespeare."),
)
PERSON = PersonContext(preferred_name="Ana", timezone="Europe/Lisbon")


@pytest.fixture(scope="module")
def agent_real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    try:
        ModelStore.from_environment().find(DEFAULT)
    except WeightsError as missing:
        pytest.skip(str(missing))
    with support.stand_in(tmp_path_factory.mktemp("agent"), MODEL="default") as running:
        yield running


def _ask(stand_in: StandIn, message: str, *history: tuple[Role, str]) -> Answer:
    """Ask with the very arguments the backend makes of a turn."""
    before = [SaidBefore(role=role, text=text) for role, text in history]
    arguments = rules.query("a-person", message, before, PERSON, datetime.now(UTC), "a-capability")
    return stand_in.ask({"class_method": "async_stream_query", "input": arguments})


def _times(text: str) -> set[str]:
    """Every time of day in `text` as HH:MM of 24 hours; a bare 9:30 could be either half of the day."""
    found = set()
    for hour, minute, half in re.findall(r"\b(\d{1,2})[:.](\d{2})\s*([ap]\.?m)?", text, re.IGNORECASE):
        if half:
            found.add(f"{int(hour) % 12 + (12 if half[0] in 'pP' else 0):02d}:{minute}")
        else:
            found.add(f"{int(hour):02d}:{minute}")
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["sum", "product"])
def test_a_sum_is_worked_out_and_said_exactly(agent_real: StandIn, kind: str, seed: int) -> None:
    choice = random.Random(f"{kind} {seed}")
    if kind == "sum":
        left, right = choice.randint(100, 999), choice.randint(100, 999)
        question, result = choice.choice(SUMS).format(left, right), left + right
    else:
        left, right = choice.randint(12, 99), choice.randint(101, 999)
        question, result = choice.choice(PRODUCTS).format(left, right), left * right
    answer = _ask(agent_real, question)
    assert str(result) in re.findall(r"\d+", answer.text.replace(",", "")), (question, answer.calls, answer.text)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_time_elsewhere_is_told_to_the_minute(agent_real: StandIn, seed: int) -> None:
    choice = random.Random(f"time {seed}")
    place = choice.choice(sorted(PLACES))
    question = choice.choice(TIMES).format(place)
    answer = _ask(agent_real, question)
    now = datetime.now(UTC).astimezone(ZoneInfo(PLACES[place]))
    allowed = {f"{now - timedelta(minutes=late):%H:%M}" for late in range(3)}
    assert _times(answer.text) & allowed, (question, answer.calls, answer.results, answer.text)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_said_two_turns_before_is_remembered(agent_real: StandIn, seed: int) -> None:
    choice = random.Random(f"fact {seed}")
    statement, question, values = choice.choice(FACTS)
    value = choice.choice(values)
    asked, answered = choice.choice(BETWEEN)
    history: list[tuple[Role, str]] = [
        ("user", statement.format(value)),
        ("assistant", "That's nice!"),
        ("user", asked),
        ("assistant", answered),
    ]
    answer = _ask(agent_real, question, *history)
    assert value.lower() in answer.text.lower(), (statement.format(value), question, answer.calls, answer.text)


def test_an_answer_is_speech_and_not_markup(agent_real: StandIn) -> None:
    answer = _ask(agent_real, "Give me three tips for sleeping better.")
    assert answer.text
    assert "".join(answer.fragments).strip() == answer.text
    assert not re.search(r"[*#`_\n\[\]{}]", answer.text)
    assert answer.events[-1]["usage_metadata"]["candidates_token_count"] > 0


def test_the_first_words_come_before_the_last(agent_real: StandIn) -> None:
    answer = _ask(agent_real, "Tell me about the sea.")
    assert len(answer.fragments) > 5
    assert answer.seconds_to_first_words < answer.seconds[-1] * 0.9
