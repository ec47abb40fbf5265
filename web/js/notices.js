import { byId } from "./dom.js";
import { asProblem, wasAborted } from "./problem.js";
import { problemCard } from "./problem-card.js";

let shown = null;

/** Shows a problem that belongs to no turn above the page; a newer one takes its place. */
export function notify(error, retry) {
  if (wasAborted(error)) return;
  const problem = asProblem(error);
  dismiss();
  shown = problemCard(problem, { dismiss, retry: retry && (() => { dismiss(); retry(); }) });
  byId("notices").append(shown);
}

export function dismiss() {
  shown?.remove();
  shown = null;
}
