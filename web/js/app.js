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
import { MyAccount } from "./my-account.js";
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
const myAccount = new MyAccount(api, signIn);
const health = new Health(api);

const FAREWELLS = {
  expired: "Your sign-in has ended. Sign in again: what you typed is kept.",
  deleted: "Your account is deleted. What it held is being removed everywhere.",
};

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
  greet();
  const same = lastPerson === signIn.user.id;
  if (lastPerson && !same) forget();
  lastPerson = signIn.user.id;
  choices.load(api).catch((error) => notify(error));
  choices.listMicrophones().catch((error) => notify(error));
  if (!same) route();
  await conversations.load();
}

function greet() {
  const { display_name: shown, preferred_name: preferred, full_name: full, email } = signIn.user;
  byId("account-name").textContent = shown || preferred || full || email;
}

function forget() {
  byId("type").value = "";
  conversations.clear();
  conversation.clear();
  history.replaceState(null, "", location.pathname);
}

function leave(reason) {
  dialogue.silence();
  myAccount.close();
  byId("workspace").hidden = true;
  byId("account").hidden = true;
  if (reason !== "expired") {
    forget();
    lastPerson = "";
  }
  account.askToSignIn(FAREWELLS[reason]);
}

/** What the address asks for: what a mail's link or Google leads back to, the account, a conversation, or nothing. */
async function route() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (byMail(asked)) {
    // A token has no business in the history.
    history.replaceState(null, "", location.pathname);
    byId("workspace").hidden = true;
    return asked.has("verify") ? account.verify(asked.get("verify")) : account.askForNewPassword(asked.get("reset"));
  }
  if (asked.get("google") === "sign-in") {
    // Nor has a code of Google's.
    history.replaceState(null, "", location.pathname);
    byId("workspace").hidden = true;
    return account.finishWithGoogle(asked);
  }
  if (!signIn.user) return undefined;
  const toAccount = asked.has("account");
  byId("workspace").hidden = toAccount;
  if (toAccount) return myAccount.open(conversation.id);
  myAccount.close();
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

const byMail = (asked) => asked.has("verify") || asked.has("reset");

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
myAccount.addEventListener("changed", greet);
myAccount.addEventListener("left", ({ detail }) => signIn.end(detail));
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
  if (byMail(asked) || asked.get("google") === "sign-in") return route();
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
