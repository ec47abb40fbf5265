// The open conversation: its messages, oldest at the top, older ones fetched as the person scrolls up.

import { byId, element } from "./dom.js";
import { Message } from "./message.js";
import { timingsPanel } from "./timings.js";

const PAGE = 20;
const NEAR_PX = 80;

/** Events: "problem" (detail: what was thrown), "titled" (detail: the session). */
export class Conversation extends EventTarget {
  #api;
  #session = null;
  #cursor = null;
  #loading = null;
  #scroller = byId("messages");
  #list = byId("exchanges");
  #older = byId("older");
  #title = byId("conversation-title");
  #welcome = byId("welcome");
  #follow = true;
  #lastTop = 0;

  constructor(api) {
    super();
    this.#api = api;
    this.#older.addEventListener("click", () => this.#loadOlder());
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Growing text must not push the end out of sight, unless the person has scrolled away to read.
    new ResizeObserver(() => this.#follow && this.toEnd()).observe(this.#list);
  }

  get id() {
    return this.#session?.id ?? "";
  }

  /** An empty conversation that the server learns of with its first turn. */
  clear() {
    this.#session = null;
    this.#reset();
    this.#welcome.hidden = false;
    this.#name("New conversation");
  }

  async open(id) {
    this.#reset();
    this.#session = { id };
    const [session, page] = await Promise.all([
      this.#api.get(`/v1/sessions/${id}`),
      this.#api.get(`/v1/sessions/${id}/messages`, { limit: PAGE }),
    ]);
    if (this.id !== id) return;
    this.#session = session;
    this.#name(session.title);
    this.#take(page);
    this.#welcome.hidden = page.items.length > 0;
    this.toEnd();
  }

  /** The id of the conversation, made at the server if it is new. */
  async ensure() {
    if (!this.#session) {
      this.#session = await this.#api.post("/v1/sessions", {}, { key: crypto.randomUUID() });
      this.dispatchEvent(new CustomEvent("titled", { detail: this.#session }));
    }
    return this.#session.id;
  }

  /** The first turn names a conversation; that happens at the server. */
  async refreshTitle() {
    const id = this.id;
    const session = await this.#api.get(`/v1/sessions/${id}`);
    if (this.id !== id) return;
    this.renamed(session);
    this.dispatchEvent(new CustomEvent("titled", { detail: session }));
  }

  renamed(session) {
    if (session.id !== this.id) return;
    this.#session = session;
    this.#name(session.title);
  }

  add(exchange) {
    this.#welcome.hidden = true;
    this.#list.append(exchange.element);
    this.#follow = true;
    this.toEnd();
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #reset() {
    this.#cursor = null;
    this.#older.hidden = true;
    this.#list.replaceChildren();
    this.#welcome.hidden = true;
    this.#follow = true;
  }

  #name(title) {
    this.#title.textContent = title || "New conversation";
    document.title = title ? `${title} · Oprina` : "Oprina";
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // The event comes late: the text may have grown meanwhile, which must not look like scrolling away.
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (atEnd || scrollTop < this.#lastTop) this.#follow = atEnd;
    this.#lastTop = scrollTop;
    if (scrollTop < NEAR_PX && this.#cursor) this.#loadOlder();
  }

  #loadOlder() {
    this.#loading ??= this.#fetchOlder().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #fetchOlder() {
    const id = this.id;
    try {
      const page = await this.#api.get(`/v1/sessions/${id}/messages`, { limit: PAGE, cursor: this.#cursor });
      if (this.id !== id) return;
      const before = this.#scroller.scrollHeight;
      this.#take(page);
      this.#scroller.scrollTop += this.#scroller.scrollHeight - before;
    } catch (error) {
      this.dispatchEvent(new CustomEvent("problem", { detail: error }));
    }
  }

  // A page is newest first; the page shows oldest first, and a page of older messages goes before what is there.
  #take({ items, next_cursor: cursor }) {
    const nodes = items.toReversed().map((message) => this.#node(message));
    this.#list.prepend(...nodes);
    this.#cursor = cursor;
    this.#older.hidden = !cursor;
  }

  #node(message) {
    const shown = new Message({
      role: message.role, kind: message.kind, text: message.text, state: message.state, createdAt: message.created_at,
    });
    if (message.role === "assistant" && message.turn_id) {
      shown.element.append(this.#timings(message.session_id, message.turn_id));
    }
    return shown.element;
  }

  #timings(sessionId, turnId) {
    const details = element("details", { class: "timings-later" }, element("summary", {}, "Where the time went"));
    details.addEventListener("toggle", async () => {
      try {
        const turn = await this.#api.get(`/v1/sessions/${sessionId}/turns/${turnId}`);
        const panel = timingsPanel(turn.timings_ms ?? {}, { usage: turn.usage, costMicros: turn.cost_micros });
        panel.querySelector("details").open = true;
        details.replaceWith(panel);
        panel.querySelector("summary").focus();
      } catch (error) {
        details.open = false;
        this.dispatchEvent(new CustomEvent("problem", { detail: error }));
      }
    }, { once: true });
    return details;
  }
}
