"""What was heard of a spoken answer when the person broke in: `private.heard_text`, asked directly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import shared_database

TEXT = "Hello Ada. How are you today?"


def piece(seq: int, start: int, end: int, milliseconds: int = 1000) -> dict[str, int]:
    return {
        "seq": seq,
        "start_ms": seq * 1000,
        "end_ms": seq * 1000 + milliseconds,
        "chars_start": start,
        "chars_end": end,
    }


TWO = [piece(0, 0, 10), piece(1, 11, 29)]


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    # The function is nobody's but app_owner's; the administrator may become that.
    with psycopg.connect(shared_database().url, autocommit=True) as opened:
        opened.execute("set role app_owner")
        yield opened


def heard(connection: psycopg.Connection, text: str, pieces: Any, seq: int, milliseconds: int) -> str:
    row = connection.execute(
        "select private.heard_text(%s, %s, %s, %s)", [text, json.dumps(pieces), seq, milliseconds]
    ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("seq", "milliseconds", "expected"),
    [
        (0, 0, ""),
        (0, 499, ""),  # inside "Hello"
        (0, 500, "Hello"),
        (0, 700, "Hello"),  # inside "Ada"
        (0, 999, "Hello Ada"),
        (0, 1000, "Hello Ada."),
        (0, 60_000, "Hello Ada."),  # never beyond the piece
        (1, 0, "Hello Ada."),
        (1, 500, "Hello Ada. How are"),
        (1, 1000, TEXT),
        (7, 0, TEXT),  # a piece that never was: all before it were
        (-1, 500, ""),
        (0, -5, ""),
    ],
)
def test_time_and_characters_are_proportional_and_a_cut_word_is_given_up(
    connection: psycopg.Connection, seq: int, milliseconds: int, expected: str
) -> None:
    assert heard(connection, TEXT, TWO, seq, milliseconds) == expected


@pytest.mark.parametrize(
    ("text", "share", "expected"),
    [
        ("Goodbye", 0.5, ""),
        ("I don't know", 5 / 12, "I"),  # after "don"
        ("I don't know", 6 / 12, "I"),  # after the apostrophe
        ("I don’t know", 6 / 12, "I"),
        ("A well-known fact", 6 / 17, "A"),
        ("Pi is 3.14 or so", 7 / 16, "Pi is"),
        ("Pi is 3.14 or so", 8 / 16, "Pi is"),
        ("It is 3, not 4", 7 / 14, "It is 3"),
        ("Yes, of course", 3 / 14, "Yes"),
        ("Yes, of course", 4 / 14, "Yes,"),
        ("Größe zählt", 3 / 11, ""),
        ("今天天气很好我们走吧", 0.5, "今天天气很"),
        ("こんにちは", 0.6, "こんに"),
        ("สวัสดีครับ", 0.5, "สวัสด"),
        ("Fine 👍 thanks", 6 / 13, "Fine 👍"),
    ],
)
def test_a_word_is_what_a_person_takes_for_one(
    connection: psycopg.Connection, text: str, share: float, expected: str
) -> None:
    assert heard(connection, text, [piece(0, 0, len(text), 10_000)], 0, round(share * 10_000) + 1) == expected


def test_nothing_spoken_at_all_leaves_the_text_whole(connection: psycopg.Connection) -> None:
    assert heard(connection, TEXT, None, 0, 0) == TEXT


def test_interrupted_before_the_first_piece_nothing_was_heard(connection: psycopg.Connection) -> None:
    assert heard(connection, TEXT, [], 0, 0) == ""


def test_a_piece_without_length_is_heard_as_soon_as_it_played(connection: psycopg.Connection) -> None:
    assert heard(connection, TEXT, [piece(0, 0, 10, 0)], 0, 0) == ""
    assert heard(connection, TEXT, [piece(0, 0, 10, 0)], 0, 1) == "Hello Ada."


def test_pieces_in_any_order_are_found_by_their_numbers(connection: psycopg.Connection) -> None:
    assert heard(connection, TEXT, TWO[::-1], 1, 500) == "Hello Ada. How are"


WORDS = st.lists(st.text("abcdéß", min_size=1, max_size=7), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(words=WORDS, earlier=st.integers(0, 1200), later=st.integers(0, 1200))
def test_what_was_heard_is_whole_words_from_the_start_and_grows_with_time(
    connection: psycopg.Connection, words: list[str], earlier: int, later: int
) -> None:
    text = " ".join(words)
    earlier, later = sorted((earlier, later))
    first, second = (heard(connection, text, [piece(0, 0, len(text))], 0, at) for at in (earlier, later))
    beginnings = {" ".join(words[:count]) for count in range(len(words) + 1)}
    assert {first, second} <= beginnings
    assert second.startswith(first)
