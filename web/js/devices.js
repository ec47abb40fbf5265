// The devices a person is signed in on, each with a way to sign it out.

import { element } from "./dom.js";
import { asProblem } from "./problem.js";
import { problemCard } from "./problem-card.js";

export class Devices {
  node = element("div", { class: "devices" });
  #api;
  #signedOut;
  #list = element("ul", { class: "rows" });
  #note = element("p", { class: "note", role: "status" }, "Loading…");
  #more = element("button", { type: "button", class: "quiet", hidden: true }, "Show more devices");
  #cursor = null;

  /** @param {() => void} signedOut called when this very device was signed out */
  constructor(api, signedOut) {
    this.#api = api;
    this.#signedOut = signedOut;
    this.#more.addEventListener("click", () => this.load());
    const all = element("button", { type: "button", class: "danger" }, "Sign out everywhere");
    all.addEventListener("click", () => this.#act(all, () => this.#api.post("/v1/auth/logout-all"), this.#signedOut));
    this.node.append(this.#list, this.#more, this.#note, element("div", { class: "buttons" }, all));
  }

  async load() {
    try {
      const page = await this.#api.get("/v1/auth/sign-ins", { cursor: this.#cursor });
      this.#list.append(...page.items.map((item) => this.#row(item)));
      this.#cursor = page.next_cursor;
      this.#more.hidden = !page.next_cursor;
      this.#note.textContent = "";
    } catch (error) {
      this.#note.replaceChildren(problemCard(asProblem(error), { retry: () => this.load() }));
    }
  }

  #row(item) {
    const name = browserName(item.device.user_agent);
    const row = element("li", {},
      element("div", {},
        element("p", { class: "row-title" }, name, item.current ? element("span", { class: "tag" }, " this device") : null),
        element("p", { class: "note" }, `Last used ${when(item.last_used_at)}, since ${when(item.created_at)}`,
          item.device.address ? `, from ${item.device.address}` : "")));
    const button = element("button", { type: "button", class: "quiet", "aria-label": `Sign out ${name}` }, "Sign out");
    const ended = item.current ? this.#signedOut : () => this.#removed(row, name);
    button.addEventListener("click", () => this.#act(button, () => this.#api.delete(`/v1/auth/sign-ins/${item.id}`), ended));
    row.append(button);
    return row;
  }

  #removed(row, name) {
    row.remove();
    this.#note.textContent = `${name} is signed out.`;
  }

  async #act(button, work, done) {
    button.disabled = true;
    try {
      await work();
      done();
    } catch (error) {
      this.#note.replaceChildren(problemCard(asProblem(error)));
    } finally {
      button.disabled = false;
    }
  }
}

const when = (at) => new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

const BROWSERS = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]];
const SYSTEMS = ["Android", "iPhone", "iPad", "Windows", "Macintosh", "Linux"];

/** A name a person recognises; the header itself where it is nobody's we know. */
function browserName(userAgent) {
  if (!userAgent) return "An unknown device";
  const browser = BROWSERS.find(([mark]) => userAgent.includes(mark))?.[1];
  const system = SYSTEMS.find((mark) => userAgent.includes(mark));
  if (!browser) return userAgent.slice(0, 60);
  return system ? `${browser} on ${system === "Macintosh" ? "a Mac" : system}` : browser;
}
