"""Where the parts of the local cloud are: their addresses, their ports, and the folder that holds their state."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
PROJECT = "oprina-local"
REGION = "us-central1"
SPEECH_LOCATION = "us"
STORAGE_BUCKET = "oprina"
DEFAULT_PORT = 8080
# So many in a row belong to one local cloud.
PORTS = 20
DEFAULT_DATA = ".local"

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Places:
    """Everything derives from one folder and one port, so that several local clouds can live on one machine."""

    data: Path
    port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Places:
        """Read DATA (relative paths start at the repository) and PORT.

        Raises:
            ValueError: PORT is not a number that leaves room for the ports after it.
        """
        raw = environment.get("PORT") or str(DEFAULT_PORT)
        if not raw.isdecimal() or not 1 <= int(raw) <= 65536 - PORTS:
            raise ValueError(f"PORT={raw} is not a port number between 1 and {65536 - PORTS}.")
        return cls(data=(REPOSITORY / (environment.get("DATA") or DEFAULT_DATA)).resolve(), port=int(raw))

    @property
    def speech_port(self) -> int:
        """Speech-to-Text and Text-to-Speech, gRPC."""
        return self.port + 1

    @property
    def secrets_port(self) -> int:
        """Secret Manager, gRPC."""
        return self.port + 2

    @property
    def agent_port(self) -> int:
        """Agent Runtime, REST."""
        return self.port + 3

    @property
    def supabase_port(self) -> int:
        """Supabase's public address, REST."""
        return self.port + 4

    @property
    def postgrest_port(self) -> int:
        return self.port + 5

    @property
    def postgres_port(self) -> int:
        return self.port + 6

    @property
    def smtp_port(self) -> int:
        return self.port + 7

    @property
    def static_port(self) -> int:
        """Public objects: the keys that verify our tokens, at an address known before anything else exists."""
        return self.port + 8

    @property
    def google_port(self) -> int:
        """Google's accounts, REST and pages."""
        return self.port + 9

    @property
    def firestore_port(self) -> int:
        """Firestore, gRPC."""
        return self.port + 10

    @property
    def liveavatar_port(self) -> int:
        """LiveAvatar, REST and WebSocket."""
        return self.port + 13

    @property
    def heygen_port(self) -> int:
        """HeyGen, REST and files."""
        return self.port + 14

    @property
    def last_port(self) -> int:
        """All ports from `port` on to this one belong to the local cloud."""
        return self.port + PORTS - 1

    @property
    def background_port(self) -> int:
        """Cloud Tasks and Cloud Scheduler, gRPC."""
        return self.port + 11

    @property
    def services_port(self) -> int:
        """Where the queue and the scheduler reach the functions, as by their own addresses in the cloud."""
        return self.port + 12

    @property
    def storage_port(self) -> int:
        """Supabase Storage's S3 endpoint, REST."""
        return self.port + 15

    @property
    def faults_file(self) -> Path:
        return self.data / "faults.json"

    @property
    def mail_file(self) -> Path:
        return self.data / "mail.sqlite3"

    @property
    def google_file(self) -> Path:
        return self.data / "google.sqlite3"

    @property
    def liveavatar_file(self) -> Path:
        return self.data / "liveavatar.sqlite3"

    @property
    def heygen_folder(self) -> Path:
        """What HeyGen knows, and the videos it made."""
        return self.data / "heygen"

    @property
    def state_file(self) -> Path:
        """What the launcher says about the processes it supervises, for the console and for tests."""
        return self.data / "processes.json"

    @property
    def secrets_file(self) -> Path:
        return self.data / "secrets.sqlite3"

    @property
    def firestore_file(self) -> Path:
        return self.data / "firestore.sqlite3"

    @property
    def database_folder(self) -> Path:
        """Beside the rest; or, for root in a private place, where PostgreSQL's own account can reach it."""
        if os.geteuid() != 0 or _all_may_enter(self.data):
            return self.data / "database"
        return Path("/var/tmp") / f"oprina-local-{hashlib.sha256(bytes(self.data)).hexdigest()[:16]}"  # noqa: S108

    @property
    def storage_folder(self) -> Path:
        return self.data / "storage"

    @property
    def environment_file(self) -> Path:
        """The secrets as the functions get them: pinned versions, by the names of environment variables."""
        return self.data / "environment.json"

    @property
    def public_folder(self) -> Path:
        return self.data / "public"

    @property
    def jwks_file(self) -> Path:
        return self.public_folder / ".well-known" / "jwks.json"

    @property
    def tasks_file(self) -> Path:
        return self.data / "tasks.sqlite3"

    @property
    def scheduler_file(self) -> Path:
        return self.data / "scheduler.sqlite3"

    @property
    def clock_file(self) -> Path:
        return self.data / "clock.json"

    @property
    def identity_file(self) -> Path:
        """The key that stands for Google's, private: who has it can be any service account of this machine."""
        return self.data / "google-identity.pem"

    @property
    def google_certs_url(self) -> str:
        """What https://www.googleapis.com/oauth2/v3/certs is in the cloud."""
        return f"{self.static_url}/google/oauth2/v3/certs"

    @property
    def service_root(self) -> str:
        """The address of each function, a template like the platform's: `{service}` is the function's name."""
        return f"{url(self.services_port)}/{{service}}"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def gateway_url(self) -> str:
        return url(self.port)

    @property
    def supabase_url(self) -> str:
        return url(self.supabase_port)

    @property
    def storage_url(self) -> str:
        """With the path that Supabase's endpoint has: signatures cover it."""
        return f"{url(self.storage_port)}/storage/v1/s3"

    @property
    def static_url(self) -> str:
        return url(self.static_port)

    @property
    def google_url(self) -> str:
        return url(self.google_port)

    @property
    def liveavatar_url(self) -> str:
        return url(self.liveavatar_port)

    @property
    def heygen_url(self) -> str:
        return url(self.heygen_port)

    @property
    def jwks_url(self) -> str:
        return f"{self.static_url}/.well-known/jwks.json"

    @property
    def token_issuer(self) -> str:
        """The issuer is where its openid-configuration is published, as OpenID Connect Discovery asks."""
        return self.static_url


def _all_may_enter(folder: Path) -> bool:
    existing = (place for place in (folder, *folder.parents) if place.exists())
    return all(place.stat().st_mode & stat.S_IXOTH for place in existing)


def url(port: int) -> str:
    return f"http://{HOST}:{port}"
