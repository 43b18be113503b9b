// The page of one item: the form, the keys, the clock, and keeping what is entered.

import { Viewer } from "./viewer.js";

const state = JSON.parse(document.getElementById("state").textContent);
const csrf = document.querySelector("meta[name=csrf]").content;
const form = document.getElementById("answer");
const canvas = document.getElementById("image");
const word = document.getElementById("word");
const help = document.getElementById("help");
const note = form.elements.note;
const QUESTIONS = ["realism", "anatomy", "lesion", "call", "confidence"];
const SCORES = ["realism", "anatomy", "lesion", "confidence"];
const SPOKEN = { realism: "Realism", anatomy: "Anatomy", lesion: "Lesion", call: "Real or synthetic", confidence: "How sure" };

// ---- what is entered, kept in this tab at once and on the server a moment later

const shelf = `item ${state.item}`;
const kept = JSON.parse(sessionStorage.getItem(shelf) || "null");
const newest = [state.given, state.draft, kept].filter(Boolean).reduce((a, b) => (b.edits > (a?.edits ?? -1) ? b : a), null);
let edits = newest?.edits ?? 0;
let key = newest === kept && kept ? kept.key || "" : "";
let sending = false;
let timer = 0;

function entered() {
  const found = { note: note.value };
  for (const name of QUESTIONS) {
    const value = form.elements[name].value;
    found[name] = value === "" ? null : name === "call" ? value : Number(value);
  }
  return found;
}

function keep() {
  const content = { ...entered(), edits, key, seconds: seconds(), view: viewer.view };
  sessionStorage.setItem(shelf, JSON.stringify(content));
}

function edited() {
  edits += 1;
  key = "";
  keep();
  clearTimeout(timer);
  timer = setTimeout(sendDraft, 600);
}

async function sendDraft() {
  clearTimeout(timer);
  timer = 0;
  if (!edits || state.given || sending) return;
  const body = JSON.stringify({ item: state.item, edits, seconds: seconds(), ...entered() });
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  const signal = AbortSignal.timeout(4000);
  await fetch("/api/drafts", { method: "POST", headers, body, keepalive: true, signal }).catch(() => {});
}

// ---- the clock: how long the image was on a visible page

let shownSince = 0;
let counted = Math.max(state.given?.seconds ?? 0, state.draft?.seconds ?? 0, kept?.seconds ?? 0);

function seconds() {
  const running = shownSince ? (performance.now() - shownSince) / 1000 : 0;
  return Math.round((counted + running) * 100) / 100;
}

function tick() {
  counted = seconds();
  shownSince = viewer.values && document.visibilityState === "visible" ? performance.now() : 0;
}

// ---- the image

let viewer;
viewer = new Viewer(canvas, state.format, (view) => {
  const slice = state.format.shape[0] > 1 ? `slice ${view.slice + 1} of ${state.format.shape[0]}` : "";
  const window_ = `W ${Math.round(view.width)}  L ${Math.round(view.level)}`;
  const scale = view.zoom === 1 ? "" : `${Math.round(view.zoom * 100)} %`;
  document.getElementById("readout").textContent = [slice, window_, scale].filter(Boolean).join("\n");
  canvas.setAttribute("aria-label", ["The image", slice, `window width ${Math.round(view.width)}, level ${Math.round(view.level)}`].filter(Boolean).join(", "));
  for (const button of document.querySelectorAll("[data-preset]")) button.setAttribute("aria-pressed", button.dataset.preset === view.preset);
  document.getElementById("invert").setAttribute("aria-pressed", view.invert);
  const slider = document.getElementById("slice");
  if (slider) {
    slider.value = view.slice + 1;
    document.getElementById("slice-now").textContent = `${view.slice + 1} of ${state.format.shape[0]}`;
  }
  clearTimeout(viewer.keeping);
  viewer.keeping = setTimeout(keep, 150);
});

async function load() {
  const trouble = document.getElementById("trouble");
  try {
    const answer = await fetch(`/api/image/${state.item}`);
    if (!answer.ok) throw new Error(answer.status);
    viewer.show(await answer.arrayBuffer());
  } catch {
    trouble.textContent = "The image could not be loaded. Trying again …";
    trouble.hidden = false;
    setTimeout(load, 2000);
    return;
  }
  trouble.hidden = true;
  viewer.preset(sessionStorage.getItem("preset") || "auto");
  if (kept?.view) viewer.set(kept.view);
  canvas.dataset.ready = "yes";
  tick();
}

function choosePreset(name) {
  if (!document.querySelector(`[data-preset=${name}]`)) return;
  sessionStorage.setItem("preset", name);
  viewer.preset(name);
}

function chooseTool(name) {
  viewer.tool = name;
  canvas.dataset.tool = name;
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === name);
}

// ---- the questions

let current = "";

function mark(name, { scroll = true } = {}) {
  current = name;
  for (const box of form.querySelectorAll(".question")) box.classList.toggle("current", box.dataset.name === name);
  if (scroll) form.querySelector(`[data-name=${name}]`)?.scrollIntoView({ block: "nearest" });
}

const firstOpen = () => QUESTIONS.find((name) => form.elements[name].value === "");

function say(text, bad = false) {
  word.textContent = text;
  word.classList.toggle("bad", bad);
}

function choose(name, value) {
  const box = form.querySelector(`[name=${name}][value="${value}"]`);
  if (!box || box.disabled) return;
  box.checked = true;
  answered(name);
  const open = firstOpen();
  const next = QUESTIONS[QUESTIONS.indexOf(name) + 1];
  mark(next && form.elements[next].value !== "" && open ? open : next || open || name);
  const said = value === 0 ? "no lesion" : value;
  say(`${SPOKEN[name]}: ${said}. ${open ? `Next: ${SPOKEN[current]}.` : "All answered; Enter keeps it."}`);
}

function answered(name) {
  form.querySelector(`[data-name=${name}]`).classList.remove("missing");
  edited();
}

function step(by) {
  const at = QUESTIONS.indexOf(current) + by;
  mark(QUESTIONS[Math.min(QUESTIONS.length - 1, Math.max(0, at))]);
  say(`${SPOKEN[current]}.`);
}

// ---- sending

async function send() {
  if (sending || state.closed) return;
  const open = QUESTIONS.filter((name) => form.elements[name].value === "");
  for (const box of form.querySelectorAll(".question")) box.classList.toggle("missing", open.includes(box.dataset.name));
  if (open.length) {
    mark(open[0]);
    say(`Still open: ${open.map((name) => SPOKEN[name].toLowerCase()).join(", ")}.`, true);
    return;
  }
  sending = true;
  clearTimeout(timer);
  key ||= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  keep();
  const content = { item: state.item, key, seconds: seconds(), ...entered() };
  if (content.lesion === 0) content.lesion = null;
  const body = JSON.stringify(content);
  const button = document.getElementById("send");
  button.disabled = true;
  for (let wait = 1; ; wait = Math.min(15, wait * 2)) {
    const { answer, detail, next } = await attempt(body);
    if (answer?.ok) {
      sessionStorage.removeItem(shelf);
      clearTimeout(viewer.keeping);
      leaving = true;
      location.assign(next);
      return;
    }
    if (answer && answer.status < 500 && answer.status !== 429) {
      say(answer.status === 401 ? "Your visit has ended. Open your link again; what you entered here is kept." : detail, true);
      break;
    }
    say(`Not kept yet: ${answer ? "the server is busy" : "the server cannot be reached"}. Trying again …`, true);
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
  button.disabled = false;
  sending = false;
}

async function attempt(body) {
  try {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    const answer = await fetch("/api/answers", { method: "POST", headers, body, signal: AbortSignal.timeout(20000) });
    const content = await answer.json().catch(() => ({}));
    return { answer, ...content };
  } catch {
    return {};
  }
}

// ---- keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const KEYS = {
  r: () => choose("call", "real"),
  s: () => choose("call", "synthetic"),
  0: () => choose("lesion", 0),
  n: () => (mark("note"), note.focus()),
  i: () => viewer.set({ invert: !viewer.view.invert }),
  f: () => viewer.set({ zoom: 1, x: 0, y: 0 }),
  "+": () => viewer.zoom(1.25),
  "=": () => viewer.zoom(1.25),
  "-": () => viewer.zoom(0.8),
  l: () => choosePreset("lung"),
  t: () => choosePreset("soft"),
  b: () => choosePreset("brain"),
  a: () => choosePreset("auto"),
  u: () => choosePreset("full"),
  p: () => document.getElementById("pause").click(),
  "?": () => help.showModal(),
  PageUp: () => viewer.set({ slice: viewer.view.slice - 5 }),
  PageDown: () => viewer.set({ slice: viewer.view.slice + 5 }),
  Backspace: () => state.previous && document.getElementById("previous").click(),
};

function arrow(event) {
  const [x, y] = ARROWS[event.key];
  if (event.shiftKey) viewer.window(10 * x, 10 * y);
  else if (event.ctrlKey) viewer.pan(-40 * x, 40 * y);
  else if (x) step(x);
  else viewer.set({ slice: viewer.view.slice - y });
}

document.addEventListener("keydown", (event) => {
  const at = document.activeElement;
  if (help.open || event.altKey || event.metaKey) return;
  if (at === note) {
    if (event.key === "Escape") canvas.focus({ preventScroll: true });
    else if (event.key === "Enter" && event.ctrlKey) send();
    return;
  }
  // on a control, keys do what they do everywhere: a screen reader's user walks through the radios by arrows
  const control = at.matches("button, a, input[type=range]");
  const native = ["Enter", " "].includes(event.key) ? control : ARROWS[event.key] && at.matches("input");
  if (native && !event.shiftKey && !event.ctrlKey) return;
  if (ARROWS[event.key]) arrow(event);
  else if (event.ctrlKey) return;
  else if (event.key === "Enter") state.closed ? document.getElementById("next").click() : send();
  else if (/^[1-5]$/.test(event.key)) {
    const asked = at.matches("input[type=radio]") && SCORES.includes(at.name) ? at.name : current;
    if (SCORES.includes(asked)) choose(asked, Number(event.key));
    else say("R for real, S for synthetic.");
  } else {
    const act = KEYS[event.key] || KEYS[event.key.toLowerCase()];
    if (!act || event.repeat && !/^(\+|=|-|Page)/.test(event.key)) return;
    act();
  }
  event.preventDefault();
});

// ---- everything else that can be touched

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
form.addEventListener("change", (event) => {
  if (!QUESTIONS.includes(event.target.name)) return;
  answered(event.target.name);
  mark(firstOpen() || event.target.name, { scroll: false });
});
form.addEventListener("focusin", (event) => {
  const box = event.target.closest(".question");
  if (box) mark(box.dataset.name, { scroll: false });
});
note.addEventListener("input", edited);
for (const button of document.querySelectorAll("[data-preset]")) button.addEventListener("click", () => choosePreset(button.dataset.preset));
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => chooseTool(button.dataset.tool));
document.getElementById("invert").addEventListener("click", KEYS.i);
document.getElementById("fit").addEventListener("click", KEYS.f);
document.getElementById("larger").addEventListener("click", KEYS["+"]);
document.getElementById("smaller").addEventListener("click", KEYS["-"]);
document.getElementById("slice")?.addEventListener("input", (event) => viewer.set({ slice: event.target.value - 1 }));
document.getElementById("help-open").addEventListener("click", () => help.showModal());

// Pausing waits until the server has what was entered; a page that is closed can only try.
let leaving = false;
document.getElementById("pause").addEventListener("click", async (event) => {
  event.preventDefault();
  leaving = true;
  if (!state.closed) keep();
  await sendDraft();
  location.assign("/");
});
document.addEventListener("visibilitychange", () => {
  tick();
  if (document.visibilityState === "hidden" && !leaving) leave();
});
addEventListener("pagehide", () => !leaving && leave());

function leave() {
  if (state.closed) return;
  keep();
  sendDraft();
}

// ---- begin

if (newest) {
  for (const name of QUESTIONS) if (newest[name] !== null && newest[name] !== undefined) form.elements[name].value = String(newest[name]);
  note.value = newest.note || "";
}
if (state.closed) {
  for (const box of form.elements) if (box.closest(".question")) box.disabled = true;
}
chooseTool("window");
mark(firstOpen() || "realism", { scroll: false });
canvas.focus({ preventScroll: true });
load();
