// The list of conversations: search, pages, renaming, deleting.

import { byId, element } from "./dom.js";
import { wasAborted } from "./problem.js";

const PAGE = 20;
const TYPING_MS = 250;

/** Events: "deleted", "renamed" (detail: the session), "problem" (detail: what was thrown). */
export class Conversations extends EventTarget {
  #api;
  #list = byId("conversation-list");
  #note = byId("conversation-list-note");
  #more = byId("more-conversations");
  #search = byId("search");
  #sessions = [];
  #cursor = null;
  #openId = "";
  #asking = null;

  constructor(api) {
    super();
    this.#api = api;
    this.#more.addEventListener("click", () => this.#attempt(() => this.#load(this.#cursor)));
    let typing;
    this.#search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.load(), TYPING_MS);
    });
  }

  load() {
    return this.#attempt(() => this.#load(null));
  }

  set openId(id) {
    this.#openId = id;
    this.#render();
  }

  /** A session that was made, named, or used: it belongs at the top. */
  put(session) {
    this.#sessions = [session, ...this.#sessions.filter(({ id }) => id !== session.id)];
    this.#render();
  }

  clear() {
    this.#sessions = [];
    this.#cursor = null;
    this.#search.value = "";
    this.#render();
  }

  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      if (!wasAborted(error)) this.dispatchEvent(new CustomEvent("problem", { detail: error }));
    }
  }

  async #load(cursor) {
    this.#asking?.abort();
    this.#asking = new AbortController();
    const q = this.#search.value.trim();
    const page = await this.#api.get("/v1/sessions", { limit: PAGE, cursor, q }, this.#asking.signal);
    this.#sessions = cursor ? [...this.#sessions, ...page.items] : page.items;
    this.#cursor = page.next_cursor;
    this.#note.textContent = this.#sessions.length ? "" : q ? `Nothing found for “${q}”.` : "No conversations yet.";
    this.#render();
  }

  #render() {
    if (this.#sessions.length) this.#note.textContent = "";
    this.#more.hidden = !this.#cursor;
    this.#list.replaceChildren(...this.#sessions.map((session) => this.#item(session)));
  }

  #item(session) {
    const open = session.id === this.#openId;
    const title = titleOf(session);
    const when = new Date(session.last_activity_at ?? session.updated_at);
    const item = element("li", { class: open ? "open" : "" },
      element("a", { href: `#c=${session.id}`, "aria-current": open ? "true" : null },
        element("span", { class: "title" }, title),
        element("time", { datetime: when.toISOString() }, nearDate(when))));
    item.append(element("span", { class: "item-buttons" },
      element("button", { type: "button", class: "quiet small", "aria-label": `Rename ${title}`, onclick: () => this.#rename(item, session) }, "Rename"),
      element("button", { type: "button", class: "quiet small", "aria-label": `Delete ${title}`, onclick: () => this.#delete(session) }, "Delete")));
    return item;
  }

  #rename(item, session) {
    const input = element("input", { type: "text", maxlength: "200", "aria-label": "New name" });
    input.value = titleOf(session);
    const form = element("form", { class: "rename" }, input, element("button", { class: "primary small" }, "Save"));
    const close = () => {
      this.#render();
      this.#focus(session.id);
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name) this.#attempt(() => this.#save(session, name));
      else close();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      close();
    });
    item.replaceChildren(form);
    input.select();
  }

  async #save(session, title) {
    const renamed = await this.#api.patch(`/v1/sessions/${session.id}`, { title });
    this.#sessions = this.#sessions.map((other) => (other.id === session.id ? renamed : other));
    this.#render();
    this.#focus(session.id);
    this.dispatchEvent(new CustomEvent("renamed", { detail: renamed }));
  }

  async #delete(session) {
    const dialog = byId("confirm");
    byId("confirm-title").textContent = "Delete this conversation?";
    byId("confirm-text").textContent = `“${titleOf(session)}” and all its messages will be gone for good.`;
    dialog.returnValue = "no";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue === "yes") await this.#attempt(() => this.#remove(session));
  }

  async #remove(session) {
    await this.#api.delete(`/v1/sessions/${session.id}`);
    this.#sessions = this.#sessions.filter(({ id }) => id !== session.id);
    this.#render();
    byId("new-conversation").focus();
    this.dispatchEvent(new CustomEvent("deleted", { detail: session }));
  }

  #focus(id) {
    this.#list.querySelector(`a[href="#c=${id}"]`)?.focus();
  }
}

const titleOf = (session) => session.title || "New conversation";

function nearDate(date) {
  const today = new Date().toDateString() === date.toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}
