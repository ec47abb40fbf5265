// Records what a person says, from press to release, and shows how loud it is.

export const LIMIT_MS = 60_000;
export const WARN_MS = 50_000;
// The recorder ends at the next packet, and the backend refuses a clip longer than its limit.
const STOP_MS = LIMIT_MS - 250;
// Opening a device takes up to half a second, and a first word would be lost each time; keeping it open for ever would
// leave the browser's recording light on.
const WARM_MS = 20_000;
const TICK_MS = 100;
const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/**
 * Events: "started", "level" (detail: 0 to 1), "time" (detail: elapsed milliseconds), "limit" (60 s are over: the
 * owner should finish), "devices" (the list changed).
 */
export class Microphone extends EventTarget {
  deviceId = "";
  #stream = null;
  #openDevice = null;
  #meter = null;
  #recorder = null;
  #chunks = [];
  #running = false;
  #startedAt = 0;
  #clock = 0;
  #cooling = 0;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.dispatchEvent(new Event("devices")));
  }

  get supported() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder && recordingType());
  }

  get recording() {
    return this.#running;
  }

  /** Begins to record. Rejects with a DOMException when the person or the system refuses the microphone. */
  async start() {
    clearTimeout(this.#cooling);
    const stream = await this.#open();
    this.#chunks = [];
    this.#recorder = new MediaRecorder(stream, { mimeType: recordingType(), audioBitsPerSecond: 48_000 });
    this.#recorder.addEventListener("dataavailable", ({ data }) => this.#chunks.push(data));
    const begun = new Promise((resolve) => this.#recorder.addEventListener("start", resolve, { once: true }));
    this.#recorder.start(250);
    await begun;
    this.#running = true;
    this.#startedAt = performance.now();
    this.#clock = setInterval(() => this.#tick(), TICK_MS);
    this.dispatchEvent(new Event("started"));
  }

  /** @returns {Promise<{blob: Blob, milliseconds: number, endedAt: number}>} endedAt: a performance.now() time */
  async finish() {
    const recorder = this.#recorder;
    const endedAt = performance.now();
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    this.#halt();
    await stopped;
    const blob = new Blob(this.#chunks, { type: recorder.mimeType });
    return { blob, milliseconds: endedAt - this.#startedAt, endedAt };
  }

  cancel() {
    if (this.recording) this.#halt();
    else this.#cool();
  }

  #halt() {
    clearInterval(this.#clock);
    this.#running = false;
    this.#recorder.stop();
    this.dispatchEvent(new CustomEvent("level", { detail: 0 }));
    this.#cool();
  }

  #cool() {
    clearTimeout(this.#cooling);
    this.#cooling = setTimeout(() => this.#close(), WARM_MS);
  }

  #tick() {
    const elapsed = performance.now() - this.#startedAt;
    this.dispatchEvent(new CustomEvent("time", { detail: elapsed }));
    if (elapsed >= STOP_MS) this.dispatchEvent(new Event("limit"));
  }

  async #open() {
    const live = this.#stream?.getAudioTracks().some((track) => track.readyState === "live");
    if (live && this.#openDevice === this.deviceId) return this.#stream;
    this.#close();
    const device = this.deviceId ? { deviceId: { ideal: this.deviceId } } : {};
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...device },
    });
    this.#openDevice = this.deviceId;
    await this.#listen(this.#stream);
    this.dispatchEvent(new Event("devices")); // names are told only once permission was given
    return this.#stream;
  }

  async #listen(stream) {
    const context = new AudioContext();
    this.#meter = context;
    await context.audioWorklet.addModule(new URL("level-meter.js", import.meta.url).href);
    const meter = new AudioWorkletNode(context, "level-meter");
    meter.port.onmessage = ({ data }) => {
      if (this.recording) this.dispatchEvent(new CustomEvent("level", { detail: loudness(data) }));
    };
    // It writes no output; the connection is what makes every browser run it.
    context.createMediaStreamSource(stream).connect(meter).connect(context.destination);
  }

  #close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#meter?.close();
    this.#meter = null;
  }

  /** @returns {Promise<{id: string, label: string}[]>} */
  async devices() {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return all.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId)
      .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `Microphone ${index + 1}` }));
  }
}

const recordingType = () => TYPES.find((type) => MediaRecorder.isTypeSupported(type));

/** Root mean square as a share of the meter: -60 dB and below is nothing, 0 dB is all. */
export const loudness = (rms) => Math.min(1, Math.max(0, 1 + Math.log10(Math.max(rms, 1e-6)) / 3));
