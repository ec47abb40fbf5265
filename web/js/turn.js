// One question and its answer, as the backend's stream tells it. Knows the protocol, not the page.

import { withQuery } from "./api.js";
import { asProblem, networkProblem, Problem, wasAborted } from "./problem.js";
import { serverSentEvents } from "./stream.js";

const RECOVERY_MS = 30_000;
const RECOVERY_STEP_MS = 1_000;
// The turn before this one may still be closing at the server after an interruption.
const BUSY_PATIENCE_MS = 25_000;
const START_PATIENCE_MS = 3_000;

/**
 * @typedef {{text: string} | {blob: Blob}} Question
 * @typedef {{speak: boolean, voice: string, language: string}} Manner
 *
 * Events, each with the data of the stream's event of that name as `detail`: "transcript", "delta", "audio", "tool",
 * "completed" (the finished turn), "failed" (a Problem), "waiting" (the previous turn is still closing).
 */
export class Turn extends EventTarget {
  id = "";
  settled = false;
  #started = Promise.withResolvers();
  #api;
  #sessionId;
  #question;
  #manner;
  #key;
  #stopping = new AbortController();

  /** @param {string} key the idempotency key: the same one again after a lost connection asks for the same turn */
  constructor(api, sessionId, question, manner, key) {
    super();
    this.#api = api;
    this.#sessionId = sessionId;
    this.#question = question;
    this.#manner = manner;
    this.#key = key;
  }

  /** Runs to the end; what happens is told by events, and nothing is thrown. */
  async run() {
    try {
      await this.#follow(await this.#ask());
    } catch (error) {
      if (!wasAborted(error)) await this.#recover(asProblem(error));
    }
  }

  /**
   * Stops the turn at the server, then the stream, which is the signal to the instance that is answering.
   * @param {{played_seq: number, played_ms: number}} played what was really heard
   * @returns {Promise<{reply: string | null} | null>} null when there was nothing to interrupt
   */
  async interrupt(played) {
    this.settled = true;
    try {
      // Only the stream's first event tells the turn's name, without which it cannot be interrupted.
      await Promise.race([this.#started.promise, pause(START_PATIENCE_MS)]);
      return this.id ? await this.#api.post(`${this.#path}/${this.id}/interrupt`, played) : null;
    } finally {
      this.#stopping.abort();
    }
  }

  /** The turn as the server keeps it, once it is no longer running; null when that takes too long. */
  async outcome() {
    const until = Date.now() + RECOVERY_MS;
    while (Date.now() < until) {
      const turn = await this.#api.get(`${this.#path}/${this.id}`);
      if (turn.status !== "running") return turn;
      await pause(RECOVERY_STEP_MS);
    }
    return null;
  }

  get #path() {
    return `/v1/sessions/${this.#sessionId}/turns`;
  }

  async #ask() {
    const until = Date.now() + BUSY_PATIENCE_MS;
    for (;;) {
      try {
        return await this.#post();
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "turn_in_progress" || Date.now() > until) throw error;
        this.#tell("waiting");
        await pause((error.retryAfterSeconds || 1) * 1000, this.#stopping.signal);
      }
    }
  }

  #post() {
    const { speak, voice, language } = this.#manner;
    const spoken = speak ? { speak: true, audio_format: "pcm", voice } : { speak: false };
    const recorded = this.#question.blob;
    return this.#api.send("POST", withQuery(this.#path, { ...spoken, language }), {
      headers: {
        Accept: "text/event-stream",
        "Content-Type": recorded ? recorded.type : "application/json",
        "Idempotency-Key": this.#key,
      },
      body: recorded ?? JSON.stringify({ text: this.#question.text }),
      signal: this.#stopping.signal,
    });
  }

  async #follow(response) {
    // A repeated key is answered with the stored result, as one document.
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      return this.#complete(await response.json());
    }
    for await (const { event, data } of serverSentEvents(response)) this.#take(event, data);
    if (!this.settled) throw networkProblem("The connection broke off in the middle of the answer.");
    return undefined;
  }

  #take(event, data) {
    if (event === "turn.started") this.#begin(data.turn_id);
    else if (event === "reply.delta") this.#tell("delta", data);
    else if (event === "transcript" || event === "audio" || event === "tool") this.#tell(event, data);
    else if (event === "turn.completed") this.#complete(data);
    else if (event === "turn.failed") this.#fail(new Problem(data));
  }

  #begin(id) {
    this.id = id;
    this.#started.resolve();
  }

  #complete(result) {
    this.#begin(result.turn_id);
    this.#settle("completed", result);
  }

  #fail(problem) {
    this.#started.resolve();
    this.#settle("failed", problem);
  }

  #settle(name, detail) {
    if (this.settled) return;
    this.settled = true;
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #tell(name, detail) {
    if (!this.settled) this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // A lost line does not mean a lost answer: the server finishes and keeps it.
  async #recover(problem) {
    if (this.settled) return;
    if (!problem.network || !this.id) return this.#fail(problem);
    try {
      const turn = await this.outcome();
      if (turn?.status === "completed") return this.#complete({ ...turn.result, turn_id: this.id });
      return this.#fail(turn?.problem ? new Problem(turn.problem) : problem);
    } catch {
      return this.#fail(problem);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
