"""The environment of the functions on this machine: the same names as in the cloud, other addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local.places import HOST, PROJECT, REGION, SPEECH_LOCATION, STORAGE_BUCKET, Places, url

AGENT_RESOURCE = f"projects/{PROJECT}/locations/{REGION}/reasoningEngines/1"
RECOGNIZER = f"projects/{PROJECT}/locations/{SPEECH_LOCATION}/recognizers/_"
MAIL_FROM = "Oprina <no-reply@oprina.test>"

# Tells the gateway the ports of functions that have processes of their own: JSON, name to port.
FUNCTION_PORTS = "FUNCTION_PORTS"

# Environment variables that hold a secret, and the name of that secret in Secret Manager.
SECRET_VARIABLES: Mapping[str, str] = {
    "ACCESS_TOKEN_KEYRING": "access-token-keyring",
    "BACKEND_KEY": "backend-key",
    "STORAGE_ACCESS_KEY_ID": "storage-access-key-id",
    "STORAGE_SECRET_ACCESS_KEY": "storage-secret-access-key",
    "SUPABASE_PUBLISHABLE_KEY": "supabase-publishable-key",
    "SUPABASE_SECRET_KEY": "supabase-secret-key",
}


def addresses(places: Places) -> dict[str, str]:
    """Everything a function reads from its environment that is not secret."""
    return {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "SUPABASE_URL": places.supabase_url,
        "TOKEN_ISSUER": places.token_issuer,
        "TOKEN_AUDIENCE": "authenticated",
        "JWKS_URL": places.jwks_url,
        "SPEECH_ENDPOINT": url(places.speech_port),
        "SPEECH_RECOGNIZER": RECOGNIZER,
        "SPEECH_MODEL": "chirp_3",
        "TEXTTOSPEECH_ENDPOINT": url(places.speech_port),
        "AGENT_ENDPOINT": url(places.agent_port),
        "AGENT_RESOURCE": AGENT_RESOURCE,
        "STORAGE_ENDPOINT": places.storage_url,
        "STORAGE_REGION": REGION,
        "STORAGE_BUCKET": STORAGE_BUCKET,
        "SECRETS_ENDPOINT": url(places.secrets_port),
        "SMTP_URL": f"smtp://{HOST}:{places.smtp_port}",
        "MAIL_FROM": MAIL_FROM,
        "PAGE_URL": places.gateway_url,
    }


def of_function(places: Places, secrets: Mapping[str, str], reads: Iterable[str]) -> dict[str, str]:
    """The environment of one function in a process of its own: only what it declares to read, as on the platform."""
    everything = addresses(places) | dict(secrets)
    return {name: everything[name] for name in reads if name in everything}
