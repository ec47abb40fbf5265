"""Google's people: who has an account, and what Google says of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

SCHEMA: Final = """
create table if not exists people (
    subject text primary key, email text not null unique collate nocase, email_verified integer not null,
    name text not null, given_name text not null, family_name text not null, picture text, hosted_domain text
);
"""
_OF_GOOGLE: Final = ("gmail.com", "googlemail.com")
_CHANGEABLE: Final = frozenset(
    {"email", "email_verified", "name", "given_name", "family_name", "picture", "hosted_domain"}
)


@dataclass(frozen=True)
class GooglePerson:
    """One Google account. `subject` is its id for ever; `hosted_domain` is the Workspace that owns the address."""

    subject: str
    email: str
    name: str
    given_name: str
    family_name: str
    email_verified: bool = True
    picture: str | None = None
    hosted_domain: str | None = None

    def public(self) -> dict[str, Any]:
        return asdict(self)


def newcomer(subject: str, email: str) -> GooglePerson:
    """The account of an address that nobody seeded: named after the address, in a Workspace unless it is Gmail's."""
    local, _, domain = email.partition("@")
    names = [part.capitalize() for part in local.replace("_", ".").replace("-", ".").split(".") if part] or ["Someone"]
    return GooglePerson(
        subject=subject,
        email=email,
        name=" ".join(names),
        given_name=names[0],
        family_name=" ".join(names[1:]),
        hosted_domain=None if domain.lower() in _OF_GOOGLE else domain.lower(),
    )


# Two who may just press a button: one at Gmail, one in a company's Workspace; and one at an address of somebody
# else's, which Google once checked and does not own.
SEEDED: Final = (
    GooglePerson("104857600000000000001", "ada.lovelace@gmail.com", "Ada Lovelace", "Ada", "Lovelace"),
    GooglePerson(
        "104857600000000000002", "grace@oprina.test", "Grace Hopper", "Grace", "Hopper", hosted_domain="oprina.test"
    ),
    GooglePerson("104857600000000000003", "alan@elsewhere.test", "Alan Turing", "Alan", "Turing"),
)


class People:
    """The accounts, in the stand-in's database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        database.executescript(SCHEMA)
        for person in SEEDED:
            if self.of_subject(person.subject) is None:
                self._keep(person)

    def all(self) -> list[GooglePerson]:
        return [_person(row) for row in self._db.execute(f"{_SELECT} order by subject")]

    def of_subject(self, subject: str) -> GooglePerson | None:
        row = self._db.execute(f"{_SELECT} where subject = ?", (subject,)).fetchone()
        return _person(row) if row else None

    def of_email(self, email: str) -> GooglePerson | None:
        row = self._db.execute(f"{_SELECT} where email = ?", (email,)).fetchone()
        return _person(row) if row else None

    def known_or_new(self, email: str) -> GooglePerson:
        """The account of an address; made when there is none.

        Raises:
            ValueError: it is no address.
        """
        email = email.strip()
        local, _, domain = email.partition("@")
        if not local or "." not in domain or len(email) > 254 or not email.isprintable() or " " in email:
            raise ValueError("Couldn't find your Google Account: enter an email address.")
        person = self.of_email(email)
        if person is None:
            person = newcomer(self._next_subject(), email)
            self._keep(person)
        return person

    def change(self, subject: str, changes: Mapping[str, Any]) -> GooglePerson:
        """What the account's owner or its administrator can change.

        Raises:
            ValueError: there is no such account, no such field, or the address is another account's.
        """
        person = self.of_subject(subject)
        if person is None or not changes.keys() <= _CHANGEABLE:
            raise ValueError("There is no such account, or it has no such field.")
        changed = replace(person, **changes)
        try:
            self._keep(changed)
        except sqlite3.IntegrityError:
            raise ValueError("Another account has this address.") from None
        return changed

    def _keep(self, person: GooglePerson) -> None:
        self._db.execute(
            "insert into people (subject, email, email_verified, name, given_name, family_name, picture, hosted_domain)"
            " values (:subject, :email, :email_verified, :name, :given_name, :family_name, :picture, :hosted_domain)"
            " on conflict (subject) do update set email = excluded.email, email_verified = excluded.email_verified,"
            " name = excluded.name, given_name = excluded.given_name, family_name = excluded.family_name,"
            " picture = excluded.picture, hosted_domain = excluded.hosted_domain",
            asdict(person),
        )

    def _next_subject(self) -> str:
        newest = self._db.execute("select max(subject) from people").fetchone()[0]
        return str(int(newest) + 1)


_SELECT = "select subject, email, name, given_name, family_name, email_verified, picture, hosted_domain from people"


def _person(row: tuple[Any, ...]) -> GooglePerson:
    subject, email, name, given_name, family_name, verified, picture, hosted_domain = row
    return GooglePerson(subject, email, name, given_name, family_name, bool(verified), picture, hosted_domain)
