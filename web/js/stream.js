import { networkProblem } from "./problem.js";

// The server writes a comment at least every 15 s, so twice that without a byte means that the line is dead.
const SILENCE_LIMIT_MS = 30_000;

/**
 * The server-sent events of a fetch response, in order. EventSource cannot be used: it only sends GET, and no headers.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 * @param {Response} response
 * @returns {AsyncGenerator<{id: string, event: string, data: any}>} `data` is parsed JSON
 * @throws {import("./problem.js").Problem} code network_lost when the stream breaks off or falls silent
 */
export async function* serverSentEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await withinLimit(reader.read());
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {}); // the stream may be broken already, which is why we are leaving
  }
}

async function withinLimit(reading) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(networkProblem("The server stopped sending in the middle of the answer.")), SILENCE_LIMIT_MS);
  });
  try {
    return await Promise.race([reading, silence]);
  } finally {
    clearTimeout(timer);
  }
}

export class EventParser {
  #rest = "";
  #id = "";
  #event = "";
  #data = [];

  /** The events that `text` completes; what is left waits for the next piece of the stream. */
  *push(text) {
    this.#rest += text;
    for (let line = this.#takeLine(); line !== null; line = this.#takeLine()) {
      if (line === "") {
        const event = this.#dispatch();
        if (event) yield event;
      } else this.#field(line);
    }
  }

  #takeLine() {
    const end = this.#rest.search(/\r\n|\n|\r/);
    // A lone \r at the very end may be the first half of \r\n: wait for the rest.
    if (end < 0 || (this.#rest[end] === "\r" && end === this.#rest.length - 1)) return null;
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
    return line;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
  }

  #dispatch() {
    const text = this.#data.join("\n");
    const event = { id: this.#id, event: this.#event || "message", data: null };
    this.#event = "";
    this.#data = [];
    return text ? { ...event, data: JSON.parse(text) } : null;
  }
}
