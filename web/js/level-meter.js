// Runs on the audio thread: how loud the microphone is, about twenty times a second.

const INTERVAL_SECONDS = 0.05;

class LevelMeter extends AudioWorkletProcessor {
  #squares = 0;
  #count = 0;

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    for (const sample of channel) this.#squares += sample * sample;
    this.#count += channel.length;
    if (this.#count >= sampleRate * INTERVAL_SECONDS) {
      this.port.postMessage(Math.sqrt(this.#squares / this.#count));
      this.#squares = 0;
      this.#count = 0;
    }
    return true;
  }
}

registerProcessor("level-meter", LevelMeter);
