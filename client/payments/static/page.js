// The order page of a trusted terminal. It shows one order at a time, signs what it shows, and hands
// the approval to the payment channel itself. Orders are pushed; nothing here polls.

import { fingerprint, newKey, orderHash, publicKey, sign, unhex } from "./signing.js";
import { load, save } from "./keep.js";
import { WORDS } from "./words.js";

const APPROVAL_MS = 120000;
const SLACK_MS = 5000;
const RETRY_MS = 2000;
const FINAL = { SUCCEEDED: "succeeded", REQUIRES_CAPTURE: "succeeded", CANCELED: "canceled",
  EXPIRED: "expired", REQUIRES_METHOD: "failed", PROCESSING: "processing", UNKNOWN: "unknown", LATE: "unknown" };

const at = (id) => document.getElementById(id);
let language = (navigator.language || "en").startsWith("zh") ? "zh" : "en";
let key, pub, bound, order, view = { state: "loading", text: "connecting" }, skew = 0;

const say = (name) => WORDS[language][name] ?? name;
const now = () => Date.now() + skew;

function show(state, more = {}) {
  view = { state, ...more };
  draw();
}

function money(amt, cur) {
  const digits = amt.padStart(3, "0");
  const text = `${digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",")}.${digits.slice(-2)}`;
  return cur === "CNY" ? `¥${text}` : `${text} ${cur}`;
}

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  at("language").textContent = say("other");
  at("footer").textContent = say("footer");
  at("card").dataset.state = view.state;
  at("badge").textContent = say(view.state);
  const shown = order && !["loading", "offline", "unbound", "pairing", "bound", "idle"].includes(view.state);
  at("title").textContent = shown ? order.order : view.state === "idle" ? say("idleTitle") : "";
  at("amount").hidden = at("facts").hidden = !shown;
  if (shown) {
    at("amount").textContent = money(order.amt, order.cur);
    const facts = [["payee", order.payee_name || order.payee], ["channel", order.channel],
      ["order_id", order.intent.slice(0, 8)], ["headset", order.owner.slice(0, 8)]];
    at("facts").replaceChildren(...facts.flatMap(([name, value]) => {
      const term = document.createElement("dt"), data = document.createElement("dd");
      term.textContent = say(name);
      data.textContent = value;
      return [term, data];
    }));
  }
  at("text").textContent = view.detail ?? say(view.text ?? `${view.state}Text`);
  if (view.state === "order") at("text").textContent = order.bound ? "" : say("unboundOrder");
  at("code").hidden = view.state !== "pairing";
  at("code").textContent = view.code ?? "";
  at("buttons").hidden = view.state !== "order";
  at("approve").textContent = say("approve");
  at("reject").textContent = say("reject");
  at("approve").disabled = at("reject").disabled = Boolean(view.busy);
  tick();
}

function tick() {
  const counting = order && view.state === "order";
  at("countdown").hidden = !counting;
  if (!counting) return;
  const left = Number(order.expires_ms) - now();
  if (left <= 0) return show("expired");
  const seconds = Math.floor(left / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  at("countdown").textContent = `${say("left")} ${clock}`;
}

// Takes the order over only if it is one that was pushed; what is shown is what will be signed.
async function receive(message) {
  skew = Number(message.time_ms) - Date.now();
  if (message.genesis !== bound.genesis) return show("refused", { text: "doctored" });
  if (view.busy && message.order?.intent === order?.intent && message.order?.state === "REQUIRES_ACTION") return;
  if (!message.order) return order && FINAL[order.state] ? undefined : (order = null, show("idle"));
  order = message.order;
  order.bound = (await orderHash(order.order, order.amt, order.cur)) === order.order_hash;
  if (order.state === "REQUIRES_ACTION") show("order");
  else show(FINAL[order.state] ?? "processing");
}

async function post(url, body) {
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify(body), credentials: url.startsWith("api/") ? "same-origin" : "omit" });
  const given = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(given.detail ?? ""), { code: given.code ?? "HTTP" });
  return given;
}

async function act(work) {
  show("order", { busy: true });
  try {
    await work();
  } catch (error) {
    if (error.code === "EXPIRED") show("expired");
    else if (error.code) show("refused", { detail: `${error.code} — ${error.message}` });
    else show("offline");
  }
}

async function approve() {
  const shown = order;
  const expiry = String(Math.min(Math.floor(now()) + APPROVAL_MS, Number(shown.expires_ms) + SLACK_MS));
  const terms = {
    intent: unhex(shown.intent), order_hash: unhex(shown.order_hash), page_hash: unhex(shown.page_hash),
    amt: BigInt(shown.amt), cur: shown.cur, payee: unhex(shown.payee), channel: shown.channel,
    nonce: unhex(shown.nonce), expiry: BigInt(expiry),
  };
  const signature = await sign(key, bound.chain, "approve", terms);
  const approval = { terminal_pub: pub, order_hash: shown.order_hash, page_hash: shown.page_hash,
    amt: shown.amt, cur: shown.cur, payee: shown.payee, channel: shown.channel, nonce: shown.nonce,
    expiry, signature };
  show("sending");
  await post(`${shown.endpoint}/approvals`, { intent: shown.intent, approval });
  if (view.state === "sending") show("processing");
}

async function reject() {
  const shown = order;
  const terms = { intent: unhex(shown.intent), nonce: unhex(shown.nonce) };
  const signature = await sign(key, bound.chain, "reject", terms);
  await post("api/reject", { intent: shown.intent, terminal_pub: pub, nonce: shown.nonce, signature });
  show("canceled");
}

// The headset's address says: for this user and network, under this challenge, until then.
async function pair(given) {
  const [user, challenge, until, chainId, genesis] = given.map(decodeURIComponent);
  bound = { user, genesis, chain: { id: chainId, genesis } };
  const kind = matchMedia("(max-width: 600px)").matches ? "phone" : "computer";
  const terms = { user: unhex(user), terminal_pub: unhex(pub), kind, challenge: unhex(challenge),
    ticket_until: BigInt(until) };
  const ticket = await sign(key, bound.chain, "bind_terminal", terms);
  await post("api/pairing", { challenge, terminal_pub: pub, kind, ticket });
  await save("bound", bound);
  history.replaceState(null, "", location.pathname);
  show("pairing", { code: await fingerprint(pub, challenge) });
}

async function listen() {
  const { challenge } = await post("api/hello", {});
  const signature = await sign(key, bound.chain, "session", { terminal_pub: unhex(pub), challenge: unhex(challenge) });
  await post("api/session", { terminal_pub: pub, challenge, signature });
  const stream = new EventSource("api/events");
  let queue = Promise.resolve();
  stream.onmessage = (event) => { queue = queue.then(() => receive(JSON.parse(event.data))); };
  await new Promise((_, fail) => {
    stream.onerror = () => fail(new Error("lost"));
    addEventListener("offline", () => fail(new Error("offline")), { once: true });
  }).finally(() => stream.close());
}

async function run() {
  draw();
  if (!globalThis.isSecureContext) return show("refused", { text: "insecure" });
  key = await load("key");
  if (!key) await save("key", key = await newKey());
  pub = await publicKey(key);
  bound = await load("bound");
  const given = location.hash.match(/^#bind\.([^.]+)\.([^.]+)\.([^.]+)\.([^.]+)\.([^.]+)$/);
  if (given) await pair(given.slice(1)).catch((error) =>
    error.code ? show("refused", { detail: `${error.code} — ${error.message}` }) : show("offline"));
  if (!bound) return show("unbound");
  for (;;) {
    try {
      await listen();
    } catch (error) {
      const waits = error.code === "TERMINAL_UNKNOWN";
      if (!waits && view.state !== "sending") show("offline");
      else if (waits && view.state !== "pairing" && view.state !== "refused") show("bound");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

at("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; draw(); });
at("approve").addEventListener("click", () => act(approve));
at("reject").addEventListener("click", () => act(reject));
addEventListener("offline", () => { if (!view.busy) show("offline"); });
addEventListener("hashchange", () => location.reload());
setInterval(tick, 500);
run();
