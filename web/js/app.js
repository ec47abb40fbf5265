// Puts the parts together: who is signed in, which conversation is open, and what the controls do.

import { Account } from "./account.js";
import { Announcer } from "./announcer.js";
import { Api } from "./api.js";
import { Choices } from "./choices.js";
import { Conversation } from "./conversation.js";
import { Conversations } from "./conversations.js";
import { Dialogue } from "./dialogue.js";
import { byId } from "./dom.js";
import { Health } from "./health.js";
import { Microphone } from "./microphone.js";
import { dismiss, notify } from "./notices.js";
import { Player } from "./player.js";
import { SignIn } from "./sign-in.js";
import { Talk } from "./talk.js";

// The local gateway listens on this machine only, and only it serves /local/.
const local = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);

const signIn = new SignIn();
const api = new Api(signIn);
const announcer = new Announcer(byId("announcer"));
const player = new Player();
const microphone = new Microphone();
const choices = new Choices(microphone);
const conversations = new Conversations(api);
const conversation = new Conversation(api);
const dialogue = new Dialogue({ api, player, conversation, announcer });
const talk = new Talk(microphone, announcer);
const account = new Account(api, signIn, local);
const health = new Health(api);

let lastPerson = "";

// For the browser's console and for whoever measures the page: what was really played, and the sound itself.
globalThis.oprina = Object.freeze({ player });

signIn.addEventListener("begun", () => enter());
signIn.addEventListener("ended", ({ detail }) => leave(detail.reason));
for (const part of [conversations, conversation, talk]) {
  part.addEventListener("problem", ({ detail }) => notify(detail));
}
conversation.addEventListener("titled", ({ detail }) => {
  conversations.put(detail);
  show(detail.id);
});
conversations.addEventListener("renamed", ({ detail }) => conversation.renamed(detail));
conversations.addEventListener("deleted", ({ detail }) => detail.id === conversation.id && startNew());

/** The workspace of whoever signed in. Who comes back finds everything as they left it, typed text included. */
async function enter() {
  account.hide();
  dismiss();
  byId("workspace").hidden = false;
  byId("account").hidden = false;
  byId("account-name").textContent = signIn.user.preferred_name || signIn.user.full_name || signIn.user.email;
  const same = lastPerson === signIn.user.id;
  if (lastPerson && !same) forget();
  lastPerson = signIn.user.id;
  choices.load(api).catch((error) => notify(error));
  choices.listMicrophones().catch((error) => notify(error));
  if (!same) route();
  await conversations.load();
}

function forget() {
  byId("type").value = "";
  conversations.clear();
  conversation.clear();
  history.replaceState(null, "", location.pathname);
}

function leave(reason) {
  dialogue.silence();
  byId("workspace").hidden = true;
  byId("account").hidden = true;
  if (reason === "asked") {
    forget();
    lastPerson = "";
  }
  account.askToSignIn(reason === "expired" ? "Your sign-in has ended. Sign in again: what you typed is kept." : "");
}

/** What the address asks for: what a link in a mail does, a conversation, or nothing. */
async function route() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("verify")) {
    // A used token has no business in the history.
    history.replaceState(null, "", location.pathname);
    byId("workspace").hidden = true;
    return account.verify(asked.get("verify"));
  }
  if (asked.has("reset")) {
    history.replaceState(null, "", location.pathname);
    byId("workspace").hidden = true;
    return account.askToReset(asked.get("reset"));
  }
  if (!signIn.user) return undefined;
  const id = asked.get("c");
  if (!id) return startNew();
  closeDrawer();
  if (id === conversation.id) return undefined;
  dialogue.interrupt();
  conversations.openId = id;
  try {
    await conversation.open(id);
  } catch (error) {
    startNew();
    notify(error);
  }
  return undefined;
}

function startNew() {
  dialogue.interrupt();
  conversation.clear();
  show("");
  closeDrawer();
  if (matchMedia("(hover: hover)").matches) byId("type").focus();
}

function show(id) {
  history.replaceState(null, "", id ? `#c=${id}` : location.pathname);
  conversations.openId = id;
}

addEventListener("hashchange", () => route());
byId("new-conversation").addEventListener("click", () => startNew());
byId("sign-out").addEventListener("click", async () => {
  dialogue.interrupt();
  try {
    await api.post("/v1/auth/logout");
    signIn.end("asked");
  } catch (error) {
    notify(error);
  }
});

// Talking, typing, interrupting

talk.addEventListener("begun", () => {
  player.unlock();
  dialogue.interrupt();
});
talk.addEventListener("said", ({ detail: { blob, endedAt } }) => dialogue.say({ blob }, choices.manner, endedAt));

const type = byId("type");
byId("type-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = type.value.trim();
  if (!text) return;
  type.value = "";
  fit();
  dialogue.say({ text }, choices.manner);
});
type.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("type-form").requestSubmit();
});
type.addEventListener("input", fit);

function fit() {
  type.style.height = "auto";
  type.style.height = `${type.scrollHeight}px`;
}

byId("interrupt").addEventListener("click", () => {
  dialogue.interrupt();
  byId("talk").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (dialogue.busy) dialogue.interrupt();
  else closeDrawer();
});

dialogue.addEventListener("state", ({ detail }) => {
  byId("interrupt").hidden = detail === "idle";
});
dialogue.addEventListener("problem", ({ detail }) => {
  if (detail.status >= 500 || detail.network) health.check();
});
player.addEventListener("blocked", () => announcer.say("The browser keeps the sound back. Press any key to hear the answer."));
for (const gesture of ["pointerdown", "keydown"]) {
  document.addEventListener(gesture, () => player.active && player.unlock(), { passive: true });
}

choices.addEventListener("changed", ({ detail }) => {
  if (detail === "speak" && !choices.speak) dialogue.silence();
  apply();
});

function apply() {
  talk.toggleMode = choices.toggleMode;
  microphone.deviceId = choices.microphone;
}

// The list of conversations is a drawer where the window is narrow

const drawer = byId("drawer-toggle");
drawer.addEventListener("click", () => {
  const open = drawer.getAttribute("aria-expanded") !== "true";
  drawer.setAttribute("aria-expanded", String(open));
  byId("workspace").classList.toggle("drawer-open", open);
  if (open) byId("new-conversation").focus();
});

function closeDrawer() {
  if (drawer.getAttribute("aria-expanded") === "true") drawer.focus();
  drawer.setAttribute("aria-expanded", "false");
  byId("workspace").classList.remove("drawer-open");
}

async function start() {
  byId("local-links").hidden = !local;
  apply();
  health.check();
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("verify") || asked.has("reset")) return route();
  if (!signIn.possible) return account.askToSignIn();
  try {
    await signIn.refresh();
    await enter();
  } catch (error) {
    if (error.status === 401) return undefined;
    account.askToSignIn();
    notify(error, start);
  }
  return undefined;
}

start();
