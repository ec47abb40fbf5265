import { element } from "./dom.js";
import { Message } from "./message.js";
import { problemCard } from "./problem-card.js";
import { SpokenText } from "./speech.js";
import { timingsPanel } from "./timings.js";

const TOOL_STATES = { started: "working", done: "done", failed: "failed" };

/** One question and its answer on the page: the two messages, the tools used, the problem if any, and the timings. */
export class Exchange {
  element = element("div", { class: "exchange" });
  spoken = new SpokenText();
  #question;
  #answer = null;
  #tools = new Map();
  #extra = element("div", { class: "exchange-extra" });
  #problem = null;

  /** @param {{text?: string, kind: "voice" | "text"}} question */
  constructor({ text = "", kind }) {
    this.#question = new Message({ role: "user", kind, text });
    if (!text) this.#question.pending = "Listening to what you said…";
    this.element.append(this.#question.element, this.#extra);
  }

  get question() {
    return this.#question.text;
  }

  get reply() {
    return this.#answer?.text ?? "";
  }

  /** The words that were heard. */
  set question(text) {
    this.#question.pending = "";
    this.#question.text = text;
  }

  think(words = "Thinking…") {
    this.#ensureAnswer();
    if (!this.reply) this.#answer.pending = words;
  }

  append(text) {
    this.#ensureAnswer();
    this.#answer.pending = "";
    this.#answer.append(text);
  }

  mark(seq) {
    this.#answer?.mark(seq === null ? null : this.spoken.range(this.reply, seq));
  }

  tool({ name, status, summary }) {
    this.#ensureAnswer();
    const words = `${name.replaceAll("_", " ")}: ${TOOL_STATES[status] ?? status}${summary ? `. ${summary}` : ""}`;
    const line = this.#tools.get(name) ?? element("p", { class: "tool" });
    line.textContent = words;
    line.dataset.status = status;
    if (!this.#tools.has(name)) this.#extra.append(line);
    this.#tools.set(name, line);
  }

  /** @param {object} result the data of `turn.completed` */
  complete(result) {
    if (result.transcript) this.question = result.transcript.text;
    this.#ensureAnswer();
    this.#answer.pending = "";
    this.#answer.text = result.reply;
    if (result.interrupted) this.cut(result.reply);
    if (result.speech?.problem) this.note(`The voice failed: ${result.speech.problem.detail || result.speech.problem.title}`);
  }

  note(text) {
    this.#extra.append(element("p", { class: "note" }, text));
  }

  /** Leaves of the answer only what was heard. */
  cut(heard) {
    this.#question.pending = "";
    this.#ensureAnswer();
    this.#answer.pending = "";
    this.#answer.mark(null);
    this.#answer.text = heard;
    this.#answer.state = "interrupted";
    if (!heard) this.#answer.note = "You interrupted before the answer began.";
  }

  timings(timings, more) {
    if (timings && Object.keys(timings).length) this.#extra.append(timingsPanel(timings, more));
  }

  fail(problem, actions) {
    this.#question.pending = "";
    if (!this.#question.text) this.#question.note = "What you said was not understood.";
    if (this.#answer) {
      this.#answer.pending = "";
      if (this.reply) this.#answer.state = "incomplete";
      else this.#answer.element.remove();
    }
    this.#problem?.remove();
    this.#problem = problemCard(problem, actions);
    this.#extra.append(this.#problem);
  }

  #ensureAnswer() {
    if (this.#answer) return;
    this.#answer = new Message({ role: "assistant" });
    this.#answer.text = "";
    this.#extra.before(this.#answer.element);
  }
}
