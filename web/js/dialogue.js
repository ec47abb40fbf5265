// Who speaks when: runs one turn at a time, plays its answer, and stops both when the person interrupts.

import { Exchange } from "./exchange.js";
import { asProblem } from "./problem.js";
import { Turn } from "./turn.js";

/** Events: "state" (detail: "idle", "waiting", "answering" or "speaking"), "problem" (detail: a Problem). */
export class Dialogue extends EventTarget {
  #api;
  #player;
  #conversation;
  #announcer;
  #current = null;

  constructor({ api, player, conversation, announcer }) {
    super();
    this.#api = api;
    this.#player = player;
    this.#conversation = conversation;
    this.#announcer = announcer;
    player.addEventListener("sound", ({ detail }) => this.#sounded(detail.at));
    player.addEventListener("piece", ({ detail }) => this.#current?.exchange.mark(detail.seq));
    player.addEventListener("drained", () => this.#settle(this.#current));
  }

  get busy() {
    return this.#current !== null;
  }

  /**
   * @param {import("./turn.js").Question} question
   * @param {import("./turn.js").Manner} manner
   * @param {number} [endedAt] when the person stopped speaking, a performance.now() time
   */
  async say(question, manner, endedAt = performance.now()) {
    await this.interrupt();
    const exchange = new Exchange({ text: question.text, kind: question.blob ? "voice" : "text" });
    this.#conversation.add(exchange);
    await this.#attempt({ exchange, question, manner, endedAt, key: crypto.randomUUID() });
  }

  /** Silence at once; the server is told how much was heard, and only that stays of the answer. */
  async interrupt() {
    const current = this.#current;
    if (!current) return;
    this.#current = null;
    const played = this.#player.stop() ?? { played_seq: 0, played_ms: 0 };
    this.#showHeard(current, played);
    this.#state("idle");
    this.#announcer.say("Interrupted.");
    if (!current.turn) return;
    try {
      const answer = await current.turn.interrupt(played);
      this.#showKept(current, answer).catch((error) => this.#report(error)); // takes as long as the turn takes to close
    } catch (error) {
      this.#report(error);
    }
  }

  /** No more sound for this answer; its words go on. */
  silence() {
    if (!this.#current) return;
    this.#player.stop();
    this.#current.exchange.mark(null);
    this.#current.silenced = true;
    if (this.#current.result) this.#settle(this.#current);
  }

  async #attempt(attempt) {
    const current = { ...attempt, turn: null, result: null, silenced: false, waitedMs: undefined };
    this.#current = current;
    this.#player.begin();
    this.#state("waiting");
    if (current.exchange.question) current.exchange.think();
    try {
      const sessionId = await this.#conversation.ensure();
      if (this.#current !== current) return;
      current.turn = new Turn(this.#api, sessionId, attempt.question, attempt.manner, attempt.key);
      this.#listen(current);
      await current.turn.run();
    } catch (error) {
      this.#failed(current, asProblem(error));
    }
  }

  #listen(current) {
    const { turn, exchange } = current;
    const on = (name, act) => turn.addEventListener(name, ({ detail }) => this.#current === current && act(detail));
    on("waiting", () => exchange.think("Waiting for the previous answer to end…"));
    on("transcript", ({ text }) => this.#heardPerson(current, text));
    on("delta", ({ text }) => {
      exchange.append(text);
      this.#state("answering");
    });
    on("tool", (tool) => exchange.tool(tool));
    on("audio", (piece) => this.#speak(current, piece));
    on("completed", (result) => this.#completed(current, result));
    on("failed", (problem) => this.#failed(current, problem));
  }

  #heardPerson({ exchange }, text) {
    exchange.question = text;
    exchange.think();
    this.#announcer.say(`You said: ${text}`);
  }

  #speak(current, piece) {
    current.exchange.spoken.add(piece);
    if (current.silenced) return;
    this.#player.enqueue(piece);
    this.#state("speaking");
  }

  #sounded(at) {
    if (this.#current) this.#current.waitedMs = Math.max(0, at - this.#current.endedAt);
  }

  #completed(current, result) {
    const { exchange, manner } = current;
    current.result = result;
    exchange.complete(result);
    this.#conversation.refreshTitle().catch((error) => this.#report(error));
    if (this.#player.active) return this.#player.finish();
    // Who hears the answer spoken must not hear it twice.
    if (!manner.speak || result.speech.status === "failed") this.#announcer.say(`Oprina: ${result.reply}`);
    return this.#settle(current);
  }

  // Everything was written and heard.
  #settle(current) {
    if (!current?.result || this.#current !== current) return;
    this.#current = null;
    current.exchange.mark(null);
    this.#showTimings(current, current.result);
    this.#state("idle");
  }

  #showTimings({ exchange, waitedMs }, { timings_ms: timings, usage, cost_micros: costMicros }) {
    exchange.timings(timings, { waitedMs, usage, costMicros });
  }

  #failed(current, problem) {
    if (this.#current !== current) return;
    this.#current = null;
    this.#player.stop();
    current.exchange.mark(null);
    current.exchange.fail(problem, { retry: () => this.#retry(current, problem) });
    this.#state("idle");
    this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  }

  // After a lost connection the turn may have run: the same key then brings its stored result instead of a second run.
  async #retry({ exchange, question, manner, key }, problem) {
    await this.interrupt();
    exchange.element.remove();
    const again = new Exchange({ text: question.text, kind: question.blob ? "voice" : "text" });
    this.#conversation.add(again);
    const retryKey = problem.network ? key : crypto.randomUUID();
    await this.#attempt({ exchange: again, question, manner, endedAt: performance.now(), key: retryKey });
  }

  #showHeard({ exchange, manner, silenced }, played) {
    exchange.mark(null);
    const spoke = manner.speak && !silenced;
    exchange.cut(spoke ? exchange.spoken.heard(exchange.reply, played) : exchange.reply);
  }

  // The server's cut is the one that counts: it is what the assistant will remember.
  async #showKept(current, answer) {
    if (!answer) return;
    if (typeof answer.reply === "string") current.exchange.cut(answer.reply);
    const turn = await current.turn.outcome();
    if (turn?.result) {
      if (turn.result.transcript) current.exchange.question = turn.result.transcript.text;
      current.exchange.cut(turn.result.reply);
      this.#showTimings(current, turn);
    }
  }

  #report(error) {
    this.dispatchEvent(new CustomEvent("problem", { detail: asProblem(error) }));
  }

  #state(name) {
    this.dispatchEvent(new CustomEvent("state", { detail: name }));
  }
}
