// Where the time of a turn went: a bar, a legend, and the same as a table for who cannot see the bar.

import { element } from "./dom.js";

// On the way to the first sound, one after the other. `open` runs beside the upload and the hearing, so it is told in
// the table but takes no place of its own in the bar.
const ON_THE_WAY = [
  ["upload", "Upload"],
  ["hear", "Hearing"],
  ["agent_first_sentence", "Thinking"],
  ["speech_first_byte", "Finding the voice"],
];
// An answer that is not spoken has no first sentence to wait for.
const WRITTEN = ["agent", "Writing the answer"];
const NAMES = {
  ...Object.fromEntries(ON_THE_WAY),
  open: "Opening the turn, beside the others",
  agent_first_token: "First word thought of",
  agent: "Whole answer written",
  first_audio: "First audio sent",
  total: "Whole turn",
  between: "Between",
  rest: "Rest of the answer",
};

/** @returns {{name: string, label: string, milliseconds: number}[]} the parts of the bar; they never exceed the whole */
export function segments(timings) {
  const spoken = timings.agent_first_sentence !== undefined;
  const parts = [...ON_THE_WAY, ...(spoken ? [] : [WRITTEN])].filter(([name]) => timings[name] > 0)
    .map(([name, label]) => ({ name, label, milliseconds: timings[name] }));
  const known = parts.reduce((sum, part) => sum + part.milliseconds, 0);
  const first = Math.max(timings.first_audio ?? known, known);
  if (first - known >= 1) parts.push({ name: "between", label: NAMES.between, milliseconds: first - known });
  const rest = (timings.total ?? first) - first;
  if (rest >= 1) parts.push({ name: "rest", label: NAMES.rest, milliseconds: rest });
  return parts;
}

/**
 * @param {Record<string, number>} timings milliseconds by stage, as the backend measured them
 * @param {{waitedMs?: number, usage?: object[], costMicros?: number | null}} more `waitedMs`: end of speech to first
 *   sound, as this browser measured it
 */
export function timingsPanel(timings, { waitedMs, usage = [], costMicros = null } = {}) {
  const parts = segments(timings);
  const summary = parts.map((part) => `${part.label} ${duration(part.milliseconds)}`).join(", ");
  const bar = element("div", { class: "bar", role: "img", "aria-label": `Where the time went: ${summary}` });
  for (const part of parts) {
    const piece = element("span", { class: `piece stage-${part.name}`, title: `${part.label}: ${duration(part.milliseconds)}` });
    piece.style.flexGrow = String(part.milliseconds);
    bar.append(piece);
  }
  return element("div", { class: "timings" },
    bar,
    legend(parts),
    element("details", {},
      element("summary", {}, headline(timings, waitedMs)),
      table(timings, waitedMs),
      costs(usage, costMicros)));
}

function headline(timings, waitedMs) {
  if (waitedMs !== undefined) return `First sound after ${duration(waitedMs)}`;
  if (timings.first_audio !== undefined) return `First audio after ${duration(timings.first_audio)}`;
  return timings.total === undefined ? "Where the time went" : `Answered in ${duration(timings.total)}`;
}

function legend(parts) {
  return element("ul", { class: "legend", "aria-hidden": "true" },
    ...parts.map((part) => element("li", {},
      element("span", { class: `swatch stage-${part.name}` }), `${part.label} ${duration(part.milliseconds)}`)));
}

function table(timings, waitedMs) {
  const rows = Object.entries(timings).map(([name, value]) => [NAMES[name] ?? name.replaceAll("_", " "), value]);
  if (waitedMs !== undefined) rows.push(["End of speech to first sound, in this browser", waitedMs]);
  return element("table", {},
    element("caption", {}, "Measured stages"),
    element("tbody", {}, ...rows.map(([name, value]) => element("tr", {},
      element("th", { scope: "row" }, name), element("td", {}, duration(value))))));
}

function costs(usage, costMicros) {
  if (!usage?.length) return null;
  const cost = costMicros === null || costMicros === undefined ? "not known" : `$${(costMicros / 1e6).toFixed(6)}`;
  return element("table", {},
    element("caption", {}, `Used, at a cost of ${cost}`),
    element("tbody", {}, ...usage.map((item) => element("tr", {},
      element("th", { scope: "row" }, `${item.kind}, ${item.provider}`),
      element("td", {}, `${item.quantity} ${item.unit.replaceAll("_", " ")}`)))));
}

export const duration = (milliseconds) =>
  milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
