"""What must hold before anything is started: a folder of our own, and free ports."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from local.places import HOST, PORTS, Places

MARKER = ".made-by-oprina-local"
# Joined models cost a gigabyte and minutes to make, belong to no state, and so survive FRESH=1.
KEPT_WHEN_FRESH = frozenset({"models", MARKER})
GRACE_ATTEMPTS = 8


class NotPossible(Exception):
    """The local cloud cannot start; the text says why and what to do."""


def claim_folder(data: Path) -> None:
    """Make the data folder ours: it is, when it is new, empty, or carries the marker that this function left in it.

    Raises:
        NotPossible: the folder holds files of somebody else.
    """
    data.mkdir(parents=True, exist_ok=True)
    strangers = {entry.name for entry in data.iterdir()} - KEPT_WHEN_FRESH
    marker = data / MARKER
    if not marker.exists() and strangers:
        raise NotPossible(
            f"{data} holds files that the local cloud did not put there ({', '.join(sorted(strangers)[:3])}). "
            "Name an empty folder: make dev DATA=path"
        )
    marker.touch()


def empty_folder(data: Path) -> None:
    """Remove what the folder holds. Only ever a folder that carries our marker.

    Raises:
        NotPossible: it does not.
    """
    if not (data / MARKER).is_file():
        raise NotPossible(f"{data} was not made by the local cloud, so it is not emptied.")
    for entry in data.iterdir():
        if entry.name in KEPT_WHEN_FRESH:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def claim_database_folder(places: Places, *, fresh: bool) -> None:
    """Make the database's folder ours where it cannot lie in the data folder (see `Places.database_folder`).

    Raises:
        NotPossible: somebody else has put a folder there.
    """
    folder = places.database_folder
    if folder.is_relative_to(places.data):
        return
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o711)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotPossible(f"{folder} belongs to somebody else. Start with another folder: make dev DATA=path")
    if fresh:
        shutil.rmtree(folder)
        folder.mkdir(mode=0o711)


@contextlib.contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Hold a claimed folder: two local clouds over the same state would ruin it. The system lets go when we end.

    Raises:
        NotPossible: another launcher holds it.
    """
    with (data / MARKER).open("r+b") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotPossible(
                f"The local cloud is already running with the state in {data}. "
                "Stop it first, or start another one beside it: make dev PORT=8180 DATA=.local-2"
            ) from None
        yield


def named_ports(places: Places) -> dict[str, int]:
    return {
        "gateway": places.port,
        "speech": places.speech_port,
        "secrets": places.secrets_port,
        "agent": places.agent_port,
        "supabase": places.supabase_port,
        "postgrest": places.postgrest_port,
        "postgres": places.postgres_port,
        "smtp": places.smtp_port,
        "public objects": places.static_port,
        "google": places.google_port,
        "firestore": places.firestore_port,
        "background": places.background_port,
        "services": places.services_port,
        "liveavatar": places.liveavatar_port,
        "heygen": places.heygen_port,
        "storage": places.storage_port,
    }


def check_ports(places: Places) -> None:
    """Wait a moment for ports that a local cloud just ended may still hold, then insist.

    Raises:
        NotPossible: naming the ports that are taken, and the way out.
    """
    for _ in range(GRACE_ATTEMPTS):
        taken = [f"{port} ({name})" for name, port in named_ports(places).items() if not _free(port)]
        if not taken:
            return
        time.sleep(0.25)
    several = len(taken) > 1
    raise NotPossible(
        f"{'Ports' if several else 'Port'} {', '.join(taken)} {'are' if several else 'is'} already in use by another "
        f"program. Stop it, or start on other ports ({PORTS} in a row): make dev PORT={_other(places.port)}"
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise NotPossible(
                    f"Port {port} needs rights that this user does not have. Choose a higher one: make dev PORT=8080"
                ) from None
            return False
    return True


def _other(port: int) -> int:
    return port + 100 if port + 100 + PORTS <= 65536 else 8080
