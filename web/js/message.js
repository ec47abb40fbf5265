import { element } from "./dom.js";

// One highlight for the whole page: only one sentence is spoken at a time. Where a browser lacks it, nothing is marked.
const spoken = "highlights" in CSS ? new Highlight() : null;
if (spoken) CSS.highlights.set("spoken", spoken);

const NAMES = { user: "You", assistant: "Oprina" };
const NOTES = {
  interrupted: "You interrupted here.",
  incomplete: "This answer was not finished.",
};

/** One message on the page. Its words are one text node, so that they grow and are marked without being rebuilt. */
export class Message {
  element;
  #words = document.createTextNode("");
  #paragraph = element("p", { class: "words" });
  #note = element("p", { class: "note", hidden: true });

  /** @param {{role: "user" | "assistant", kind?: string, text?: string, state?: string, createdAt?: string}} content */
  constructor({ role, kind = "text", text = "", state = "complete", createdAt = "" }) {
    const when = createdAt ? new Date(createdAt) : new Date();
    this.#paragraph.append(this.#words);
    this.element = element("article", { class: `message ${role}`, "aria-label": `${NAMES[role]}, ${clock(when)}` },
      element("p", { class: "who" },
        element("span", {}, NAMES[role]),
        kind === "voice" && role === "user" ? element("span", { class: "tag" }, "spoken") : null,
        element("time", { datetime: when.toISOString(), title: when.toLocaleString() }, clock(when))),
      this.#paragraph,
      this.#note);
    this.text = text;
    this.state = state;
  }

  get text() {
    return this.#words.data;
  }

  set text(text) {
    if (this.#words.data !== text) this.#words.data = text;
    this.#paragraph.hidden = !text;
  }

  append(text) {
    this.#words.appendData(text);
    this.#paragraph.hidden = false;
  }

  set state(state) {
    this.element.classList.toggle("cut", state === "interrupted");
    this.note = NOTES[state] ?? "";
  }

  set note(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  /** What stands in for words that are still to come. */
  set pending(text) {
    this.element.classList.toggle("pending", Boolean(text));
    this.note = text;
  }

  /** Marks the words being spoken; null takes the mark away. */
  mark(range) {
    if (!spoken) return;
    spoken.clear();
    if (!range) return;
    const [start, end] = range;
    const marked = new Range();
    marked.setStart(this.#words, Math.min(start, this.#words.length));
    marked.setEnd(this.#words, Math.min(end, this.#words.length));
    spoken.add(marked);
  }
}

const clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
