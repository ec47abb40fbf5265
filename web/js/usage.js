// What a person used, in all and by day. What is not known is said to be unknown: it is not nothing.

import { element } from "./dom.js";
import { asProblem } from "./problem.js";
import { problemCard } from "./problem-card.js";

const KINDS = { hearing: "Listening", thinking: "Thinking", speaking: "Speaking" };

export class UsageTable {
  node = element("div", { class: "scroll" }, element("p", { class: "note", role: "status" }, "Loading…"));
  #api;

  constructor(api) {
    this.#api = api;
  }

  async load() {
    try {
      this.#show(await this.#api.get("/v1/users/me/usage"));
    } catch (error) {
      this.node.replaceChildren(problemCard(asProblem(error), { retry: () => this.load() }));
    }
  }

  #show(usage) {
    if (!usage.days.length) {
      this.node.replaceChildren(element("p", { class: "note" }, "Nothing yet."));
      return;
    }
    const requests = usage.requests.reduce((sum, line) => sum + line.count, 0);
    this.node.replaceChildren(
      element("p", {}, `${costOf(usage)} in all, ${requests} requests.`),
      table("In all", ["What", "How much", "Cost"], usage.usage.map((line) =>
        [kindOf(line.kind), amount(line), costOf(line)])),
      element("details", {}, element("summary", {}, "Day by day"),
        table("Day by day", ["Day", "Requests", "Cost"], usage.days.map((day) =>
          [day.day, String(day.requests.reduce((sum, line) => sum + line.count, 0)), costOf(day)]))));
  }
}

function table(caption, heads, rows) {
  return element("table", { class: "usage" }, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map(([first, ...others]) => element("tr", {},
      element("th", { scope: "row" }, first),
      ...others.map((text) => element("td", { class: "number" }, text))))));
}

const kindOf = (kind) => KINDS[kind] ?? kind.replaceAll("_", " ");
const amount = ({ quantity, unit }) => `${quantity.toLocaleString()} ${unit.replaceAll("_", " ")}`;

/** Micro-dollars as money. @param {{cost_micros: number | null, unpriced_events: number}} line */
function costOf({ cost_micros: micros, unpriced_events: unpriced }) {
  if (micros === null) return "cost unknown";
  const money = (micros / 1e6).toLocaleString([], { style: "currency", currency: "USD", maximumFractionDigits: 4 });
  return unpriced ? `${money} and an unknown part` : money;
}
