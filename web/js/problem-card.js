import { element } from "./dom.js";

const KIND_WORDS = {
  no_speech: {
    title: "I heard no words",
    detail: "Hold the button a moment longer and speak towards the microphone. If it happens again, choose another microphone below.",
  },
};

/**
 * A problem as a card: what happened, what to do, and what support would ask for.
 * @param {import("./problem.js").Problem} problem
 * @param {{retry?: () => void, dismiss?: () => void}} actions
 */
export function problemCard(problem, { retry, dismiss } = {}) {
  const kind = KIND_WORDS[problem.code];
  const card = element("div", { class: kind ? "problem gentle" : "problem", role: "alert" },
    element("p", { class: "problem-title" }, kind?.title || problem.title),
    element("p", { class: "problem-detail" }, kind?.detail || problem.detail),
    fieldList(problem),
    facts(problem));
  const buttons = element("div", { class: "buttons" });
  // Who was signed out finds the question again after signing in.
  if (retry && (problem.retryable || problem.status === 401)) buttons.append(retryButton(problem, "Try again", retry));
  if (dismiss) buttons.append(element("button", { type: "button", class: "quiet", onclick: dismiss }, "Dismiss"));
  if (buttons.childElementCount) card.append(buttons);
  return card;
}

function fieldList(problem) {
  if (!problem.fields.length) return null;
  return element("ul", { class: "problem-fields" },
    ...problem.fields.map((field) => element("li", {}, `${field.field}: ${field.detail || field.code}`)));
}

function facts(problem) {
  const words = [];
  if (problem.code) words.push(problem.code);
  if (problem.status) words.push(String(problem.status));
  if (problem.requestId) words.push(`request ${problem.requestId}`);
  return words.length ? element("p", { class: "problem-facts" }, words.join(" · ")) : null;
}

function retryButton(problem, label, retry) {
  const button = element("button", { type: "button", class: "primary", onclick: retry }, label);
  if (problem.retryAfterSeconds > 0) countDown(button, label, problem.retryAfterSeconds);
  return button;
}

function countDown(button, label, seconds) {
  const until = Date.now() + seconds * 1000;
  button.disabled = true;
  const show = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `${label} in ${left} s` : label;
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(show, 250);
  show();
}
