// Plays the pieces of one spoken answer without gaps, and knows to the millisecond what has really been heard.

// The backend's pcm: signed 16 bit little endian, mono. A context at this very rate needs no resampling, which would
// leave a click at each seam.
export const SAMPLE_RATE = 24_000;
// Time to hand a late piece to the audio thread; without it its first samples would be cut off.
const LEAD_SECONDS = 0.02;
const WATCH_MS = 40;

/**
 * Events: "sound" (the first sample of the answer leaves the speaker; detail {at}, a performance.now() time),
 * "piece" (detail {seq}: another piece is being heard), "drained" (everything was heard), "blocked" (the browser
 * keeps the sound back until the person does something), "unblocked".
 */
export class Player extends EventTarget {
  #context = null;
  #analyser = null;
  #gain = null;
  #pieces = [];
  #nextStart = 0;
  #complete = false;
  #watch = 0;
  #heardSeq = null;
  #sounded = false;
  #totalMs = 0;

  /** What a face or a level meter reads; null until the first sound was asked for. */
  get analyser() {
    return this.#analyser;
  }

  get active() {
    return this.#watch !== 0;
  }

  /** Milliseconds of speech heard since the page was opened. */
  get playedMs() {
    return Math.round(this.#totalMs + this.#answerMs());
  }

  /** To be called while the person's key or finger is down: browsers let sound begin only then. */
  unlock() {
    this.#context ??= this.#open();
    if (this.#context.state !== "running") this.#context.resume().catch(() => {});
  }

  #open() {
    const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    this.#gain = context.createGain();
    this.#analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#gain.connect(this.#analyser).connect(context.destination);
    context.addEventListener("statechange", () => {
      if (context.state === "running") this.dispatchEvent(new Event("unblocked"));
    });
    return context;
  }

  /** A new answer: whatever was left of the last one falls silent. */
  begin() {
    this.stop();
    this.unlock();
    this.#complete = false;
    this.#sounded = false;
    this.#heardSeq = null;
    this.#nextStart = 0;
  }

  /** @param {{seq: number, data: string}} piece `data`: base64 of pcm */
  enqueue(piece) {
    const samples = samplesOf(piece.data);
    if (!samples.length) return;
    const context = this.#context;
    const buffer = context.createBuffer(1, samples.length, SAMPLE_RATE);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(this.#gain);
    const start = Math.max(this.#nextStart, context.currentTime + LEAD_SECONDS);
    source.start(start);
    this.#nextStart = start + buffer.duration;
    this.#pieces.push({ seq: piece.seq, start, end: this.#nextStart, source });
    if (!this.#watch) this.#watch = setInterval(() => this.#look(), WATCH_MS);
    if (context.state !== "running") this.dispatchEvent(new Event("blocked"));
  }

  /** No further pieces will come. */
  finish() {
    this.#complete = true;
    this.#look();
  }

  /** Silence, now. @returns what was heard of this answer, or null when it had no sound */
  stop() {
    const position = this.position();
    this.#totalMs += this.#answerMs();
    clearInterval(this.#watch);
    this.#watch = 0;
    for (const { source } of this.#pieces) {
      source.stop();
      source.disconnect();
    }
    this.#pieces = [];
    return position;
  }

  /** @returns {{played_seq: number, played_ms: number} | null} milliseconds into the piece that is being heard */
  position() {
    const now = this.#heardTime();
    const begun = this.#pieces.filter((piece) => piece.start <= now);
    const piece = begun.at(-1) ?? this.#pieces[0];
    if (!piece) return null;
    const heard = Math.min(Math.max(now, piece.start), piece.end) - piece.start;
    return { played_seq: piece.seq, played_ms: Math.round(heard * 1000) };
  }

  // The context's clock is ahead of the ear by what the sound card still holds.
  #heardTime() {
    return this.#context ? this.#context.currentTime - (this.#context.outputLatency || 0) : 0;
  }

  #answerMs() {
    const now = this.#heardTime();
    return this.#pieces.reduce((sum, { start, end }) => sum + Math.max(0, Math.min(now, end) - start) * 1000, 0);
  }

  #look() {
    const now = this.#heardTime();
    const piece = this.#pieces.findLast(({ start }) => start <= now);
    if (piece && !this.#sounded) {
      this.#sounded = true;
      const at = performance.now() - (now - this.#pieces[0].start) * 1000;
      this.dispatchEvent(new CustomEvent("sound", { detail: { at } }));
    }
    if (piece && piece.seq !== this.#heardSeq) {
      this.#heardSeq = piece.seq;
      this.dispatchEvent(new CustomEvent("piece", { detail: { seq: piece.seq } }));
    }
    if (this.#complete && this.active && now >= this.#nextStart) this.#drain();
  }

  #drain() {
    this.stop();
    this.dispatchEvent(new Event("drained"));
  }
}

/** base64 of s16le as samples between -1 and 1. */
export function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const samples = new Float32Array(bytes.length >> 1);
  for (let index = 0; index < samples.length; index += 1) samples[index] = view.getInt16(index * 2, true) / 32768;
  return samples;
}
