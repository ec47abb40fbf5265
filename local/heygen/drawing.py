"""Draws the video: a face whose mouth follows the loudness of what it says, with the sound under it.

The pictures are small whatever resolution was asked for; the shape is the one asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from local.heygen.voice import RATE, Samples

FRAMES_PER_SECOND: Final = 12
SIZES: Final = {
    "16:9": (480, 270), "9:16": (270, 480), "4:5": (288, 360), "5:4": (360, 288), "1:1": (320, 320), "auto": (480, 270),
}  # fmt: skip
VIDEO: Final = "video"
THUMBNAIL: Final = "thumbnail.jpg"
GIF: Final = "preview.gif"
_CODECS: Final = {"mp4": ("libx264", "aac", RATE), "webm": ("libvpx", "libopus", 48_000)}
_QUICK: Final = {"libx264": {"preset": "ultrafast"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"}}
_GIF_FRAMES: Final = 8
Colour = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Colours are red, green and blue from 0 to 255."""

    aspect_ratio: str
    skin: Colour
    background: Colour
    container: str = "mp4"


def draw(folder: Path, scene: Scene, sound: Samples) -> float:
    """Write the video, a thumbnail and a moving preview into `folder`. Returns the video's length in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    face = _Face(scene)
    openings = _openings(sound)
    _write_video(folder / f"{VIDEO}.{scene.container}", scene, face, openings, sound)
    _write_pictures(folder / THUMBNAIL, "mjpeg", "yuvj420p", scene, [face.with_mouth(0.4)])
    _write_pictures(folder / GIF, "gif", "rgb8", scene, [face.with_mouth(o) for o in openings[:_GIF_FRAMES]])
    return len(openings) / FRAMES_PER_SECOND


def _openings(sound: Samples) -> list[float]:
    """How far the mouth is open in each picture, 0 to 1."""
    step = RATE // FRAMES_PER_SECOND
    count = max(-(-len(sound) // step), 1)
    padded = np.zeros(count * step, np.float32)
    padded[: len(sound)] = sound
    loudness = np.sqrt(np.mean(padded.reshape(count, step) ** 2, axis=1))
    return [float(value) for value in loudness / max(float(loudness.max()), 1.0)]


class _Face:
    def __init__(self, scene: Scene) -> None:
        width, height = SIZES[scene.aspect_ratio]
        self._rows, self._columns = np.ogrid[:height, :width]
        self._middle, self._centre = height / 2, width / 2
        self._radius = min(width, height) * 0.36
        self._blank = np.empty((height, width, 3), np.uint8)
        self._blank[:] = scene.background
        self._paint(self._blank, 0, 0, 1, 1.15, scene.skin)
        for side in (-0.36, 0.36):
            self._paint(self._blank, side, -0.22, 0.09, 0.09, (30, 30, 30))

    def with_mouth(self, opening: float) -> Picture:
        picture = self._blank.copy()
        self._paint(picture, 0, 0.5, 0.32, 0.04 + 0.22 * opening, (120, 40, 45))
        return picture

    def _paint(self, picture: Picture, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """An ellipse; everything in radii of the face, from its middle."""
        across = (self._columns - self._centre - x * self._radius) / (width * self._radius)
        down = (self._rows - self._middle - y * self._radius) / (height * self._radius)
        picture[across**2 + down**2 <= 1] = colour


def _write_video(file: Path, scene: Scene, face: _Face, openings: list[float], sound: Samples) -> None:
    video_codec, audio_codec, rate = _CODECS[scene.container]
    options = {"movflags": "+faststart"} if scene.container == "mp4" else {}
    with av.open(str(file), "w", format=scene.container, options=options) as container:
        pictures: Any = container.add_stream(video_codec, rate=FRAMES_PER_SECOND, options=_QUICK[video_codec])
        pictures.width, pictures.height = SIZES[scene.aspect_ratio]
        pictures.pix_fmt = "yuv420p"
        voice: Any = container.add_stream(audio_codec, rate=rate)
        voice.layout = "mono"
        for number, opening in enumerate(openings):
            _mux(container, pictures, _frame(face.with_mouth(opening), number))
        _mux(container, pictures, None)
        for frame in _sounds(sound, rate):
            _mux(container, voice, frame)
        _mux(container, voice, None)


def _write_pictures(file: Path, codec: str, pixels: str, scene: Scene, pictures: list[Picture]) -> None:
    container_format = "gif" if codec == "gif" else "image2"
    options = {} if codec == "gif" else {"update": "1"}
    with av.open(str(file), "w", format=container_format, options=options) as container:
        stream: Any = container.add_stream(codec, rate=FRAMES_PER_SECOND)
        stream.width, stream.height = SIZES[scene.aspect_ratio]
        stream.pix_fmt = pixels
        for number, picture in enumerate(pictures):
            _mux(container, stream, _frame(picture, number))
        _mux(container, stream, None)


def _frame(picture: Picture, number: int) -> Any:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
    return frame


def _sounds(sound: Samples, rate: int) -> list[Any]:
    whole = sound if len(sound) else np.zeros(RATE // FRAMES_PER_SECOND, np.int16)
    frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts = RATE, 0
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def _mux(container: Any, stream: Any, frame: Any) -> None:
    for packet in stream.encode(frame):
        container.mux(packet)


def captions(script: str, seconds: float) -> str:
    """SubRip, each sentence for its share of the time."""
    sentences = [part.strip() for part in script.replace("!", ".").replace("?", ".").split(".") if part.strip()]
    total = sum(len(sentence) for sentence in sentences) or 1
    lines, at = [], 0.0
    for number, sentence in enumerate(sentences, 1):
        until = at + seconds * len(sentence) / total
        lines.append(f"{number}\n{_moment(at)} --> {_moment(until)}\n{sentence}\n")
        at = until
    return "\n".join(lines)


def _moment(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:"
        f"{milliseconds // 1000 % 60:02},{milliseconds % 1000:03}"
    )
