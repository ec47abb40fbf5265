"""GET /v1/health/detailed: every dependency with its latency, for administrators."""

from __future__ import annotations

from shared.clients.agent_runtime import AgentSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.clients.speech import SpeechSettings
from shared.clients.texttospeech import TextToSpeechSettings
from shared.http.bearer import Administrator
from shared.http.declaration import Caller, Function
from shared.operations import checks
from shared.operations.models import Health
from shared.runtime.visit import Rate

function = Function(
    name="operations-health-detailed",
    path="/v1/health/detailed",
    settings=(
        DatabaseSettings,
        ServerSettings,
        AgentSettings,
        SpeechSettings,
        TextToSpeechSettings,
        MailSettings,
        checks.KeySettings,
    ),
    server_calls=("ping",),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
    roles=("roles/aiplatform.user", "roles/speech.client"),
    timeout_seconds=15,
)


@function.get("Every dependency with its latency", caller=Caller.ADMINISTRATOR, rate=Rate(30, burst=10))
async def health_detailed(visit: Administrator) -> Health:
    return await checks.health(visit)


main = function.entry_point()
