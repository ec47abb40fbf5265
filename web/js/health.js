// How the backend's parts are, said plainly.

import { byId, element } from "./dom.js";
import { asProblem } from "./problem.js";

const EVERY_MS = 60_000;
const SUMMARY = {
  ok: "All parts work",
  degraded: "Some parts are limited",
  unavailable: "Some parts are unavailable",
  unreachable: "The backend cannot be reached",
};

export class Health {
  #api;
  #banner = null;
  #notices = byId("notices");

  constructor(api) {
    this.#api = api;
    setInterval(() => document.visibilityState === "visible" && this.check(), EVERY_MS);
  }

  async check() {
    try {
      this.#show(await this.#api.get("/v1/health"));
    } catch (error) {
      const problem = asProblem(error);
      // A backend that is not well may say so with a status of its own, and still name its parts.
      this.#show(problem.document.parts ? problem.document : { status: "unreachable", parts: {} });
    }
  }

  #show({ status, parts = {} }) {
    byId("health").dataset.status = status;
    byId("health-summary").textContent = SUMMARY[status] ?? status;
    byId("health-parts").replaceChildren(element("ul", {},
      ...Object.entries(parts).map(([name, part]) => element("li", { "data-status": part.status },
        element("span", { class: "dot", "aria-hidden": "true" }),
        element("span", {}, describe(name, part))))));
    this.#warn(Object.entries(parts).filter(([, part]) => part.status !== "ok"));
  }

  #warn(ailing) {
    const text = ailing.map(([name, part]) => describe(name, part)).join(" ");
    if (this.#banner?.textContent === text) return;
    this.#banner?.remove();
    this.#banner = text ? element("p", { class: "notice", role: "status" }, text) : null;
    if (this.#banner) this.#notices.append(this.#banner);
  }
}

function describe(name, { status, detail, latency_ms: latency }) {
  const title = `${name[0].toUpperCase()}${name.slice(1).replaceAll("_", " ")}`;
  if (status === "ok") return `${title}: works${latency === null || latency === undefined ? "" : `, ${Math.round(latency)} ms`}`;
  return `${title} is ${status}${detail ? `: ${detail}` : "."}`;
}
