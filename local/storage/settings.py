"""What the stand-in reads from its environment, beside DATA and PORT."""

from __future__ import annotations

from pydantic import SecretStr

from local.storage.signatures import Keys
from shared.runtime.settings import Settings

# Four hours of 48 kHz stereo WAV are 2.8 GB.
DEFAULT_MAX_OBJECT_BYTES = 3 * 1024**3


class StorageServerSettings(Settings):
    """The same names as the functions read; `storage_max_object_bytes` is what Supabase calls the file size limit."""

    storage_region: str
    storage_bucket: str
    storage_access_key_id: SecretStr
    storage_secret_access_key: SecretStr
    storage_max_object_bytes: int = DEFAULT_MAX_OBJECT_BYTES

    @property
    def keys(self) -> Keys:
        return Keys(
            self.storage_access_key_id.get_secret_value(),
            self.storage_secret_access_key.get_secret_value(),
            self.storage_region,
        )
