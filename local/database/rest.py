"""PostgREST over the cluster: its configuration, the keys whose tokens it accepts, and the command that runs it."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from local.database.binaries import DatabaseUnavailable, postgrest_program
from local.database.cluster import HOST, write_secret

RELOAD_SIGNAL = signal.SIGUSR2
_START_SECONDS = 30.0


@dataclass
class Rest:
    """PostgREST on `port`, its configuration kept in `folder`."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def _configuration(self) -> Path:
        return self.folder / "postgrest.conf"

    @property
    def _keys(self) -> Path:
        return self.folder / "postgrest.jwks.json"

    def configure(self, authenticator_url: str, jwks: Mapping[str, Any], front_secret: str) -> None:
        """Write what it reads when it starts, and end one that outlived whoever started it."""
        self._end_orphan()
        self.write_keys(jwks, front_secret)
        settings = {
            "db-uri": authenticator_url,
            "db-schemas": "public",
            "db-anon-role": "anon",
            "db-extra-search-path": "public, extensions",
            "db-pool": 16,
            "jwt-secret": f"@{self._keys}",
            # Checking a signature takes PostgREST longer than the rest of a request.
            "jwt-cache-max-lifetime": 60,
            "server-host": HOST,
            "server-port": self.port,
            "log-level": "error",
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        write_secret(self._configuration, "\n".join(lines) + "\n")

    def write_keys(self, jwks: Mapping[str, Any], front_secret: str) -> None:
        """Whose tokens count: our issuer's, by its public keys, and those that the front makes for the server key."""
        own = base64.urlsafe_b64encode(front_secret.encode()).rstrip(b"=").decode()
        keys = [*jwks["keys"], {"kty": "oct", "kid": "front", "alg": "HS256", "k": own}]
        write_secret(self._keys, json.dumps({"keys": keys}))

    def command(self) -> list[str]:
        """What to run in the foreground; it reads its configuration and keys again on RELOAD_SIGNAL."""
        return [str(postgrest_program()), str(self._configuration)]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as words:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True
            )
        (self.folder / "postgrest.pid").write_text(str(process.pid))
        return process

    def wait(self) -> None:
        """Return when it serves: connected, and the database's functions known.

        Raises:
            DatabaseUnavailable: not in time.
        """
        until = time.monotonic() + _START_SECONDS
        with httpx.Client() as client:
            while not self._serves(client):
                if time.monotonic() > until:
                    raise DatabaseUnavailable(f"PostgREST does not serve on port {self.port}.")
                time.sleep(0.02)

    def _serves(self, client: httpx.Client) -> bool:
        try:
            return client.get(self.url).status_code < 500
        except httpx.HTTPError:
            return False

    def _end_orphan(self) -> None:
        file = self.folder / "postgrest.pid"
        with suppress(FileNotFoundError, ValueError, psutil.Error):
            process = psutil.Process(int(file.read_text()))
            if str(self._configuration) in process.cmdline():
                process.kill()
                process.wait(timeout=5)
        file.unlink(missing_ok=True)
