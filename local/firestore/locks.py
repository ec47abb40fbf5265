"""Who has to wait for whom: locks on documents and on the results of queries.

A read in a transaction keeps others from changing what it read until the transaction ends. Readers share their locks;
a transaction that is being tried again takes its locks alone, which is how it keeps its place in the line. Whoever
wants what another holds waits, first come first served. Of transactions that wait in a circle the youngest is doomed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol


class Holder(Protocol):
    """A transaction, as far as locks are concerned. `age` is smaller for older ones."""

    @property
    def age(self) -> int: ...


# ("document", path) or ("query", the query's bytes)
LockKey = tuple[str, Any]
# each holder of a key, and whether it holds it alone
Held = dict[Any, bool]


@dataclass(eq=False)
class Wait:
    """Somebody in the line. `holder` is None for a write outside of transactions, which holds nothing itself.

    `blockers` tells who holds what is wanted; when nobody does, `proceed` is called and its result ends the wait.
    """

    holder: Any | None
    keys: frozenset[LockKey]
    exclusive: bool
    blockers: Callable[[], set[Any]]
    proceed: Callable[[], Any]
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Locks:
    """The locks of one database. `doom` is told who has to give way; it must release that holder's locks."""

    def __init__(self, doom: Callable[[Any], None]) -> None:
        self._doom = doom
        self._held: dict[LockKey, Held] = {}
        self._keys: dict[Any, set[LockKey]] = {}
        self._line: list[Wait] = []

    def holders(self, key: LockKey) -> Iterable[Any]:
        return self._held.get(key, {}).keys()

    def holds(self, holder: Any, key: LockKey, *, exclusive: bool) -> bool:
        held = self._held.get(key, {}).get(holder)
        return held is not None and (held or not exclusive)

    def interests(self, holder: Any) -> set[LockKey]:
        """What a holder has locked, and what it is waiting for."""
        wanted = {key for wait in self._line if wait.holder is holder for key in wait.keys}
        return wanted | self._keys.get(holder, set())

    def held_queries(self) -> list[tuple[Any, LockKey]]:
        """Every lock on a query's result, with its holder."""
        return [(holder, key) for key, held in self._held.items() if key[0] == "query" for holder in held]

    async def acquire(self, holder: Any, keys: Iterable[LockKey], *, exclusive: bool) -> bool:
        """Lock for reading. Returns whether others had to end first. Raises what `abandon` is told to raise."""
        wanted = frozenset(key for key in keys if not self.holds(holder, key, exclusive=exclusive))
        if not wanted:
            return False

        def proceed() -> None:
            for key in wanted:
                self._held.setdefault(key, {})[holder] = exclusive or self.holds(holder, key, exclusive=True)
                self._keys.setdefault(holder, set()).add(key)

        def blockers() -> set[Any]:
            return self._conflicting(holder, wanted, exclusive=exclusive)

        waited, _ = await self.wait(Wait(holder, wanted, exclusive, blockers, proceed))
        return waited

    async def wait(self, wait: Wait) -> tuple[bool, Any]:
        """Proceed when nobody is in the way. Returns whether there was a wait, and the result of `proceed`."""
        if not self._in_the_way(wait, self._line):
            return False, wait.proceed()
        self._line.append(wait)
        self._break_circles()
        try:
            return True, await wait.done
        except asyncio.CancelledError:
            if wait.done.cancelled() or not wait.done.done():
                raise
            # It was served in the same moment: what is written is written, and has to be told.
            return True, wait.done.result()
        finally:
            if wait in self._line:
                self._line.remove(wait)
                self.serve()

    def release(self, holder: Any) -> None:
        """Let go of everything a holder has, and serve those who waited for it."""
        for key in self._keys.pop(holder, ()):
            held = self._held[key]
            del held[holder]
            if not held:
                del self._held[key]
        self.serve()

    def abandon(self, holder: Any, outcome: Callable[[asyncio.Future[Any]], None]) -> None:
        """End the wait that a holder is in, if it is in one, in its own way."""
        for wait in [wait for wait in self._line if wait.holder is holder]:
            self._line.remove(wait)
            if not wait.done.done():
                outcome(wait.done)

    def serve(self) -> None:
        """Let everybody proceed who can, in the order in which they came."""
        served = True
        while served:
            served = False
            for index, wait in enumerate(self._line):
                if not self._in_the_way(wait, self._line[:index]):
                    del self._line[index]
                    self._end(wait)
                    served = True
                    break
        self._break_circles()

    def _end(self, wait: Wait) -> None:
        if wait.done.done():
            return
        try:
            wait.done.set_result(wait.proceed())
        except Exception as error:
            wait.done.set_exception(error)

    def _conflicting(self, holder: Any, keys: Iterable[LockKey], *, exclusive: bool) -> set[Any]:
        return {
            other
            for key in keys
            for other, alone in self._held.get(key, {}).items()
            if other is not holder and (alone or exclusive)
        }

    def _in_the_way(self, wait: Wait, earlier: Iterable[Wait]) -> set[Any]:
        """Holders and those before it in the line; a transaction that is not to wait for itself is left out."""
        ahead = {
            other.holder if other.holder is not None else other
            for other in earlier
            if other is not wait
            and other.holder is not wait.holder
            and (other.exclusive or wait.exclusive)
            and other.keys & wait.keys
            and not self._has_part_in(wait, other)
        }
        return wait.blockers() | ahead

    def _has_part_in(self, wait: Wait, other: Wait) -> bool:
        """Whether the other is waiting for this one anyway: it would be a circle for nothing."""
        return wait.holder is not None and any(self.holds(wait.holder, key, exclusive=False) for key in other.keys)

    def _break_circles(self) -> None:
        while (circle := self._circle()) is not None:
            # writes outside of transactions hold nothing: there is nothing they could give up
            self._doom(max((one for one in circle if not isinstance(one, Wait)), key=lambda holder: holder.age))

    def _circle(self) -> list[Any] | None:
        """Those who wait for each other in a circle, or None."""
        waits_for = {
            wait.holder if wait.holder is not None else wait: self._in_the_way(wait, self._line[:index])
            for index, wait in enumerate(self._line)
        }
        finished: set[Any] = set()
        for start in waits_for:
            found = _walk(start, waits_for, [], finished)
            if found is not None:
                return found
        return None


def _walk(holder: Any, waits_for: dict[Any, set[Any]], trail: list[Any], finished: set[Any]) -> list[Any] | None:
    if holder in trail:
        return trail[trail.index(holder) :]
    if holder in finished or holder not in waits_for:
        return None
    for other in waits_for[holder]:
        found = _walk(other, waits_for, [*trail, holder], finished)
        if found is not None:
            return found
    finished.add(holder)
    return None
