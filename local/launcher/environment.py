"""The environment of the functions on this machine: the same names as in the cloud, other addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local.places import HOST, PROJECT, REGION, SPEECH_LOCATION, STORAGE_BUCKET, Places, url

AGENT_RESOURCE = f"projects/{PROJECT}/locations/{REGION}/reasoningEngines/1"
RECOGNIZER = f"projects/{PROJECT}/locations/{SPEECH_LOCATION}/recognizers/_"
# In Google's own form; its secret is in Secret Manager.
GOOGLE_CLIENT_ID = "104857600000-oprinalocal.apps.googleusercontent.com"
TASKS_ACCOUNT = f"tasks@{PROJECT}.iam.gserviceaccount.com"
SCHEDULER_ACCOUNT = f"scheduler@{PROJECT}.iam.gserviceaccount.com"
MAIL_FROM = "Oprina <no-reply@oprina.test>"
SUPPORT_ADDRESS = "support@oprina.test"

# Tells the gateway the ports of functions that have processes of their own: JSON, name to port.
FUNCTION_PORTS = "FUNCTION_PORTS"

# Environment variables that hold a secret, and the name of that secret in Secret Manager.
SECRET_VARIABLES: Mapping[str, str] = {
    "ACCESS_TOKEN_KEYRING": "access-token-keyring",
    "BACKEND_KEY": "backend-key",
    "GOOGLE_CLIENT_SECRET": "google-client-secret",
    "HEYGEN_API_KEY": "heygen-api-key",
    "LIVEAVATAR_API_KEY": "liveavatar-api-key",
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
        "GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID,
        "GOOGLE_REDIRECT_URI": f"{places.gateway_url}/v1/auth/google/callback",
        "GOOGLE_AUTH_URL": f"{places.google_url}/o/oauth2/v2/auth",
        "GOOGLE_TOKEN_URL": f"{places.google_url}/token",
        "GOOGLE_JWKS_URL": f"{places.google_url}/oauth2/v3/certs",
        "LIVEAVATAR_URL": places.liveavatar_url,
        "HEYGEN_URL": places.heygen_url,
        "SMTP_URL": f"smtp://{HOST}:{places.smtp_port}",
        "MAIL_FROM": MAIL_FROM,
        "SUPPORT_ADDRESS": SUPPORT_ADDRESS,
        "PAGE_URL": places.gateway_url,
        "SERVICE_ROOT": places.service_root,
        "GOOGLE_CERTS_URL": places.google_certs_url,
        "TASKS_SERVICE_ACCOUNT": TASKS_ACCOUNT,
        "SCHEDULER_SERVICE_ACCOUNT": SCHEDULER_ACCOUNT,
    }


def of_function(places: Places, secrets: Mapping[str, str], reads: Iterable[str]) -> dict[str, str]:
    """The environment of one function in a process of its own: only what it declares to read, as on the platform."""
    everything = addresses(places) | dict(secrets)
    return {name: everything[name] for name in reads if name in everything}
