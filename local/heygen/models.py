"""The bodies that HeyGen takes. Fields that it does not know pass."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from local.heygen.settings import MAX_BATCH, MAX_SCRIPT_CHARACTERS

Engine = Literal["avatar_iii", "avatar_iv", "avatar_v"]
EVENT_TYPES: Final = ("avatar_video.success", "avatar_video.fail", "batch.finished")
_Script = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SCRIPT_CHARACTERS)]


class VoiceSettings(BaseModel):
    speed: float = Field(default=1, ge=0.5, le=1.5)
    pitch: float = Field(default=0, ge=-50, le=50)
    volume: float = Field(default=1, ge=0, le=1)
    locale: str | None = None


class EngineChoice(BaseModel):
    type: Engine = "avatar_iv"


class Background(BaseModel):
    type: Literal["color", "image"]
    value: str | None = Field(default=None, pattern=r"^#[0-9A-Fa-f]{6}$")
    url: str | None = None
    asset_id: str | None = None


class Caption(BaseModel):
    file_format: Literal["srt"] = "srt"
    style: str | None = None


class NewVideo(BaseModel):
    """A video of one avatar that says one thing: a script, or sound that is there already."""

    type: Literal["avatar"]
    avatar_id: str = Field(min_length=1)
    script: _Script | None = None
    voice_id: str | None = None
    audio_url: str | None = None
    audio_asset_id: str | None = None
    voice_settings: VoiceSettings = VoiceSettings()
    engine: EngineChoice = EngineChoice()
    resolution: Literal["4k", "1080p", "720p"] = "1080p"
    aspect_ratio: Literal["16:9", "9:16", "4:5", "5:4", "1:1", "auto"] = "16:9"
    background: Background | None = None
    remove_background: bool = False
    output_format: Literal["mp4", "webm"] = "mp4"
    caption: Caption | None = None
    title: str | None = Field(default=None, max_length=200)
    folder_id: str | None = None
    callback_url: str | None = None
    callback_id: str | None = Field(default=None, max_length=255)

    @model_validator(mode="after")
    def _says_exactly_one_thing(self) -> Self:
        sources = [self.script, self.audio_url, self.audio_asset_id]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("Provide exactly one of script, audio_url and audio_asset_id.")
        if self.output_format == "webm" and not self.remove_background:
            raise ValueError("webm needs remove_background.")
        return self


class NewBatch(BaseModel):
    videos: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_BATCH)
    title: str | None = None
    callback_url: str | None = None


class NewEndpoint(BaseModel):
    url: str = Field(max_length=2048)
    events: list[str] | None = None
    entity_id: str | None = None


class EndpointChange(BaseModel):
    url: str | None = Field(default=None, max_length=2048)
    events: list[str] | None = None
    status: Literal["enabled", "disabled"] | None = None


class AccountChange(BaseModel):
    """What only this stand-in lets be changed from outside."""

    balance_micros: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=0)
    render_seconds: float | None = Field(default=None, ge=0)
    link_seconds: int | None = Field(default=None, ge=1)
    webhook_retry_seconds: float | None = Field(default=None, gt=0)
    reorder_seconds: float | None = Field(default=None, ge=0)


class Redelivery(BaseModel):
    """An old webhook sent again, as somebody who recorded it would: with the moment it was first sent."""

    event_id: str
    age_seconds: float = Field(default=0, ge=0)
