"use strict";
// The page of the bench. It asks /v1 for everything, and keeps nothing: the credentials and the pictures of the smear
// are in the memory of this page only, and a reload forgets both.

const TYPES = ["basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"];
const NAMES = { ig: "immature granulocyte", no_cell: "no cell" };
const NO_CELL = "no_cell";
const SUFFIXES = /\.(jpe?g?|jfif|png|bmp|dib|tiff?)$/i; // as bloodyspy/images/decode.py has them
const AT_ONCE = 16, BYTES_AT_ONCE = 8 << 20, REQUESTS = 2; // pictures and bytes of a request, requests at a time
const EVERY = 700; // milliseconds between two differentials while answers come in

const $ = (id) => document.getElementById(id);
const named = (type) => NAMES[type] ?? type;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const pause = (seconds) => new Promise((resume) => setTimeout(resume, 1000 * seconds));

let credentials = null; // the Authorization header
let caller = null; // name and role
let model = null; // what /v1/model says
let cells = []; // of this smear: {file, url, state, answer, request, picture, label, error}
let shown = []; // those that the filter shows
let selected = null;
let smear = 0; // its number: answers to an earlier one are thrown away
let sending = 0;
let stopped = null; // why no more is sent, until somebody says go on

// --- the service -----------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Ask, and come again where the service says that it is busy. Throws Refused with the service's own sentence. */
async function ask(path, options = {}) {
  for (let failures = 0; ; ) {
    const headers = { Authorization: credentials, ...options.headers };
    let answer;
    try {
      // without "omit" the browser would ask for a password in a window of its own after a 401
      answer = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch {
      if (++failures > 3) throw new Refused(0, "The service cannot be reached.");
      await pause(failures);
      continue;
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    const wait = Number(answer.headers.get("Retry-After"));
    if (answer.status === 429 && wait && !options.once) {
      await pause(wait * (1 + Math.random()));
      continue;
    }
    if (answer.status === 401 && caller) signOut("You were signed out: sign in again. The smear is still here.");
    throw new Refused(answer.status, told.detail ?? `The service answered ${answer.status}.`);
  }
}

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function say(words, kind = "bad") {
  $("message").textContent = words;
  $("message").className = `message ${kind}`;
  $("message").hidden = !words;
}

// --- signing in ------------------------------------------------------------------------------------------------------

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const user = $("user").value.trim(), password = $("password").value;
  const basic = btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)));
  credentials = user ? `Basic ${basic}` : `Bearer ${password.trim()}`;
  say("");
  try {
    const who = await (await ask("v1/caller", { once: true })).json();
    model = await (await ask("v1/model")).json();
    caller = who;
  } catch (refused) {
    say(refused.message);
    return;
  }
  $("password").value = "";
  $("name").textContent = `${caller.name} (${caller.role})`;
  $("model").textContent = `Model ${model.model}, version ${model.model_version}, run ${model.spec.run_id}.`;
  $("synthetic").hidden = !model.spec.synthetic;
  for (const id of ["who", "bench", "card"]) $(id).hidden = false;
  $("door").hidden = true;
  if (!may("classify")) say("Your role is `read`: you can see which model answers, but send no pictures.", "warn");
  $("may-not").hidden = may("review");
  dispatchEvent(new Event("signed-in"));
  goOn();
  $("files").focus();
});

const may = (role) => {
  const roles = ["read", "classify", "review", "admin"];
  return caller !== null && roles.indexOf(caller.role) >= roles.indexOf(role);
};

function signOut(words = "") {
  credentials = caller = null;
  stopped = "signed out";
  for (const id of ["who", "bench", "card"]) $(id).hidden = true;
  $("door").hidden = false;
  $("model").textContent = "";
  dispatchEvent(new Event("signed-out"));
  say(words, "warn");
  $("user").focus();
}

$("sign-out").addEventListener("click", () => {
  if (forget()) signOut();
});

// The card needs credentials, which a link does not send.
$("card").addEventListener("click", async (event) => {
  event.preventDefault();
  const page = window.open("", "_blank");
  try {
    const url = URL.createObjectURL(await (await ask("v1/model/card")).blob());
    if (page) page.location = url;
  } catch (refused) {
    page?.close();
    say(refused.message);
  }
});

// --- taking pictures in ----------------------------------------------------------------------------------------------

function add(found) {
  const files = found.filter((file) => !/(^|\/)\./.test(file.webkitRelativePath || file.name)); // hidden ones are nobody's
  if (!may("classify") || !files.length) return;
  const pictures = files.filter((file) => SUFFIXES.test(file.name));
  const left = files.length - pictures.length;
  say(left ? `${left} ${left === 1 ? "file was" : "files were"} left out: not named like JPEG, PNG, BMP or TIFF.` : "", "warn");
  const byName = new Intl.Collator(undefined, { numeric: true }).compare;
  pictures.sort((one, other) => byName(one.webkitRelativePath || one.name, other.webkitRelativePath || other.name));
  for (const file of pictures) cells.push({ file, url: URL.createObjectURL(file), state: "waiting" });
  for (const id of ["files", "folder"]) $(id).value = "";
  goOn();
  if (selected || !shown.length) return;
  select(shown[0]);
  $("list").focus({ preventScroll: true }); // keys are for the cells from now on
}

for (const id of ["files", "folder"]) $(id).addEventListener("change", () => add([...$(id).files]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean); // gone later
  try {
    add((await Promise.all(entries.map(filesOf))).flat());
  } catch (problem) {
    say(`What was dropped cannot be read: ${problem.message}`);
  }
});

/** The files of a dropped file or folder. */
async function filesOf(entry) {
  if (entry.name.startsWith(".")) return []; // a hidden folder's files do not tell that they were in one
  if (entry.isFile) return [await new Promise((found, failed) => entry.file(found, failed))];
  const reader = entry.createReader(), inside = [];
  for (;;) {
    const some = await new Promise((found, failed) => reader.readEntries(found, failed)); // at most 100 at a time
    if (!some.length) return (await Promise.all(inside.map(filesOf))).flat();
    inside.push(...some);
  }
}

/** Throw the smear away, after asking; tells whether it is gone. */
function forget() {
  if (cells.length && !confirm("The answers and labels on this page go. Labels that were sent stay with the service."))
    return false;
  smear += 1;
  for (const cell of cells) URL.revokeObjectURL(cell.url);
  cells = [];
  selected = stopped = null;
  $("specimen").value = "";
  $("report-links").replaceChildren();
  $("report-status").textContent = $("status").textContent = "";
  $("list").replaceChildren();
  show();
  differential();
  return true;
}

$("clear").addEventListener("click", forget);
addEventListener("beforeunload", (event) => {
  if (cells.length) event.preventDefault();
});

// --- asking for answers ----------------------------------------------------------------------------------------------

function goOn() {
  stopped = null;
  while (sending < REQUESTS && cells.some((cell) => cell.state === "waiting")) send();
  show();
}

$("again").addEventListener("click", goOn);

async function send() {
  sending += 1;
  const number = smear;
  try {
    for (let some; !stopped && number === smear && (some = waiting()).length; ) {
      const form = new FormData();
      for (const cell of some) {
        cell.state = "sent";
        form.append("files", cell.file, cell.file.name);
      }
      const specimen = $("specimen").value.trim();
      try {
        const headers = specimen ? { "X-Specimen-ID": specimen } : {};
        const answer = await (await ask("v1/classify", { method: "POST", headers, body: form })).json();
        if (number !== smear) return;
        some.forEach((cell, place) => answered(cell, answer, place));
      } catch (refused) {
        if (number !== smear) return;
        // a refusal of one picture alone is about that picture, unless the specimen or the service is at fault
        const itself = some.length === 1 && [413, 422].includes(refused.status) && !/specimen/.test(refused.message);
        for (const cell of some) {
          cell.state = itself ? "error" : "waiting";
          if (itself) cell.error = refused.message;
          paint(cell);
        }
        if (!itself && [413, 422].includes(refused.status) && some.length > 1) some.forEach((cell) => (cell.alone = true));
        else if (!itself) stop(refused.message);
      }
      tell();
      differential();
    }
  } finally {
    sending -= 1;
    tell();
  }
}

/** The next pictures for one request; those that a request was refused for go one by one. */
function waiting() {
  const some = [];
  let bytes = 0;
  for (const cell of cells) {
    if (cell.state !== "waiting") continue;
    if (some.length && (cell.alone || bytes + cell.file.size > BYTES_AT_ONCE)) break;
    some.push(cell);
    bytes += cell.file.size;
    if (cell.alone || some.length === AT_ONCE) break;
  }
  return some;
}

function stop(words) {
  stopped = words;
  say(words);
}

function answered(cell, answer, place) {
  const result = answer.results[place];
  cell.request = answer.request_id;
  cell.picture = place;
  cell.version = answer.model_version;
  cell.run = answer.run_id;
  if (result.error) {
    cell.state = "error";
    cell.error = result.error;
  } else {
    cell.state = "answered";
    cell.answer = result;
  }
  paint(cell);
  if (cell === selected) detail();
}

// --- what is shown ---------------------------------------------------------------------------------------------------

/** review, reject, auto, labelled, error or waiting: what a cell is to whoever looks through them. */
function kindOf(cell) {
  if (cell.label) return "labelled";
  if (cell.answer) return cell.answer.action;
  return cell.state === "error" ? "error" : "waiting";
}

const MARKS = { review: "? to look at", reject: "× rejected", labelled: "✓ labelled", error: "! unreadable", waiting: "…" };
const FILTERS = { all: null, open: "review", rejected: "reject", labelled: "labelled", unreadable: "error" };

function paint(cell) {
  const kind = kindOf(cell);
  if (!cell.tile) {
    cell.tile = document.createElement("div");
    cell.tile.setAttribute("role", "option");
    cell.tile.id = `cell-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    const picture = document.createElement("img");
    picture.src = cell.url;
    picture.alt = "";
    picture.loading = "lazy";
    picture.draggable = false;
    picture.addEventListener("error", () => (picture.hidden = true)); // a browser shows no TIFF
    cell.tile.append(picture, document.createElement("span"), document.createElement("span"));
    cell.tile.addEventListener("click", () => select(cell));
  }
  const [, type, mark] = cell.tile.children;
  cell.tile.className = `cell ${kind}`;
  cell.tile.setAttribute("aria-selected", cell === selected);
  const said = cell.label ?? cell.answer?.predicted;
  type.textContent = said ? named(said) : cell.file.name;
  mark.className = "mark";
  mark.textContent = kind === "auto" ? percent(cell.answer.confidence) : MARKS[kind];
}

/** The list, as the filter has it. */
function show() {
  const kind = FILTERS[$("filter").value];
  // what somebody is looking at stays, though labelling it takes it out of the filter
  shown = cells.filter((cell) => !kind || kindOf(cell) === kind || cell === selected);
  for (const cell of shown) if (!cell.tile) paint(cell);
  $("list").replaceChildren(...shown.map((cell) => cell.tile));
  $("nothing").hidden = shown.length > 0;
  $("cells").hidden = $("smear").hidden = !cells.length;
  tell();
  detail();
}

$("filter").addEventListener("change", () => {
  select(null);
  show();
  if (shown.length) select(shown[0]);
});

function tell() {
  const count = (...kinds) => cells.filter((cell) => kinds.includes(kindOf(cell))).length;
  const left = count("waiting"), done = cells.length - left;
  $("progress").hidden = !left;
  $("done").max = cells.length || 1;
  $("done").value = done;
  $("again").hidden = !stopped;
  $("clear").disabled = !cells.length;
  $("report").disabled = $("csv").disabled = !cells.length || left > 0;
  if (!cells.length) return;
  const words = [`${done} of ${cells.length} answered`];
  for (const [kind, what] of [["review", "to look at"], ["reject", "rejected"], ["labelled", "labelled"], ["error", "unreadable"]])
    if (count(kind)) words.push(`${count(kind)} ${what}`);
  $("status").textContent = `${words.join(", ")}.`;
}

function select(cell) {
  const before = selected;
  selected = cell;
  if (before) paint(before);
  if (cell) {
    paint(cell);
    $("list").setAttribute("aria-activedescendant", cell.tile.id);
    cell.tile.scrollIntoView({ block: "nearest" });
  }
  detail();
}

function detail() {
  const cell = selected;
  $("one").hidden = !cell;
  if (!cell) return;
  const kind = kindOf(cell), answer = cell.answer;
  $("one-title").textContent = cell.label ? named(cell.label) : answer ? named(answer.predicted) : "No answer";
  $("picture").src = cell.url;
  $("picture").alt = `Picture ${cell.file.name}`;
  $("picture-name").textContent = cell.file.name;
  const verdict = document.createElement("b");
  verdict.className = kind;
  const words = { auto: "Answered", review: "To look at", reject: "Rejected: this is no answer", labelled: "Labelled by you", error: "Unreadable", waiting: "Waiting" };
  verdict.textContent = words[kind];
  const more = !answer ? cell.error ?? "" : cell.label ? ` The model said ${named(answer.predicted)}, ${percent(answer.confidence)}.` : ` ${percent(answer.confidence)}`;
  $("verdict").replaceChildren(verdict, ` ${more}`);
  $("reasons").replaceChildren(
    ...(answer?.reasons ?? []).map((reason) => {
      const item = document.createElement("li");
      item.textContent = model.reasons[reason];
      return item;
    }),
  );
  TYPES.forEach((type, place) => {
    const [bar, , , number] = $("types").children[place].children;
    const share = answer?.probabilities[type] ?? 0;
    bar.style.width = `${100 * share}%`;
    number.textContent = answer ? percent(share) : "";
    $("types").children[place].disabled = !answer || !may("review");
    $("types").children[place].setAttribute("aria-pressed", cell.label === type);
  });
  for (const id of ["confirm", "no-cell"]) $(id).disabled = !answer || !may("review");
  $("take-back").disabled = !cell.label || !may("review");
  $("why").disabled = !answer;
  $("heat").hidden = !cell.heat;
  if (cell.heat) {
    $("heat-picture").src = `data:image/png;base64,${cell.heat.picture}`;
    $("heat-words").textContent =
      `${percent(cell.heat.inside)} of the heat lies on the cell. Without the hottest part the probability falls by ` +
      `${(100 * cell.heat.drop).toFixed(1)} points.`;
  }
}

TYPES.forEach((type, place) => {
  const button = document.createElement("button");
  button.type = "button";
  for (const tag of ["i", "span", "span", "span"]) button.append(document.createElement(tag));
  button.children[1].append(Object.assign(document.createElement("kbd"), { textContent: place + 1 }));
  button.children[2].textContent = named(type);
  button.children[3].className = "number";
  button.addEventListener("click", () => label(type));
  $("types").append(button);
});

// --- labels ----------------------------------------------------------------------------------------------------------

let labelling = Promise.resolve(); // labels go one after the other: of two, the later row holds

async function label(given) {
  const cell = selected;
  if (!cell?.answer || !may("review") || (cell.label ?? null) === given) return;
  const before = cell.label;
  cell.label = given;
  shownAnew(cell);
  const kept = labelling.then(() => post("v1/labels", { request_id: cell.request, picture: cell.picture, label: given }));
  labelling = kept.catch(() => {});
  try {
    await kept;
    say("");
  } catch (refused) {
    cell.label = before;
    shownAnew(cell);
    say(refused.message);
  }
}

function shownAnew(cell) {
  paint(cell);
  tell();
  if (cell === selected) detail();
  differential();
}

$("confirm").addEventListener("click", () => label(selected.answer.predicted));
$("no-cell").addEventListener("click", () => label(NO_CELL));
$("take-back").addEventListener("click", () => label(null));
$("next").addEventListener("click", next);
$("why").addEventListener("click", why);

function next() {
  const from = shown.indexOf(selected);
  const after = [...shown.slice(from + 1), ...shown.slice(0, from + 1)];
  const found = after.find((cell) => kindOf(cell) === "review");
  if (found) select(found);
  else say("Nothing is left to look at among these.", "warn");
}

async function why() {
  const cell = selected;
  if (!cell?.answer || cell.heat || cell.asked) return;
  cell.asked = true;
  $("why").disabled = true;
  const form = new FormData();
  form.append("files", cell.file, cell.file.name);
  try {
    const [found] = (await (await ask("v1/explain", { method: "POST", body: form })).json()).results;
    if (found.error) say(found.error);
    else cell.heat = found;
  } catch (refused) {
    say(refused.message);
  }
  cell.asked = false;
  if (cell === selected) detail();
}

// --- keys ------------------------------------------------------------------------------------------------------------

function move(by) {
  if (!shown.length) return;
  const at = selected ? shown.indexOf(selected) : -1;
  select(shown[Math.min(shown.length - 1, Math.max(0, at + by))]);
}

const columns = () => getComputedStyle($("list")).gridTemplateColumns.split(" ").length;

addEventListener("keydown", (event) => {
  if ($("bench").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = event.target.closest("input, select, textarea");
  const pressed = event.target.closest("button, a");
  if (inside && inside.type !== "file") return;
  const inList = event.target === $("list") || event.target === document.body || $("one").contains(event.target);
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -Infinity, End: Infinity };
  if (event.key in moves && inList) move(moves[event.key]);
  else if (/^[1-8]$/.test(event.key)) label(TYPES[event.key - 1]);
  else if (event.key === "0") label(NO_CELL);
  else if (event.key === "Enter" && !pressed && !inside && selected?.answer) label(selected.answer.predicted);
  else if (event.key === "Delete" || event.key === "Backspace") label(null);
  else if (event.key === "n") next();
  else if (event.key === "h") why();
  else return;
  event.preventDefault();
});

// --- the differential ------------------------------------------------------------------------------------------------

let reckoning = false, wanted = false;

function tally() {
  const counts = { auto: {}, review: {}, labelled: {}, rejected: 0 };
  for (const cell of cells) {
    if (!cell.answer) continue;
    const kind = kindOf(cell), type = cell.label ?? cell.answer.predicted;
    if (kind === "reject" || type === NO_CELL) counts.rejected += 1;
    else counts[kind][type] = (counts[kind][type] ?? 0) + 1;
  }
  return counts;
}

/** Ask for the shares of what has been counted; while one is on its way, the next waits and takes all that came since. */
async function differential() {
  wanted = true;
  if (reckoning) return;
  reckoning = true;
  while (wanted) {
    wanted = false;
    const number = smear, counts = tally();
    const any = Object.keys({ ...counts.auto, ...counts.review, ...counts.labelled }).length > 0;
    try {
      const found = any && caller ? await (await post("v1/differential", counts)).json() : null;
      if (number === smear) reckoned(found, "");
    } catch (refused) {
      if (number === smear) reckoned(null, refused.message);
    }
    await pause(EVERY / 1000);
  }
  reckoning = false;
}

function reckoned(found, words) {
  $("no-shares").textContent = words;
  $("counted").textContent = found ? `${found.white} white cells${found.in_review ? `, ${found.in_review} of all still to look at` : ""}` : "";
  $("flag").hidden = !found;
  $("shares").replaceChildren(...(found ? [...found.classes, found.erythroblasts].map((row) => shareRow(row, found)) : []));
  if (!found) return;
  const share = found.ig.share;
  const flags = { yes: "above", no: "not above", "cannot be told": "these cells cannot tell whether that is above" };
  $("flag").className = `flag ${found.ig.above === "yes" ? "yes" : ""}`;
  $("flag").textContent =
    `Immature granulocytes ${share.value.toFixed(1)} % (${share.low.toFixed(1)} to ${share.high.toFixed(1)}): ` +
    `${flags[found.ig.above]} the limit of ${found.ig.limit} %.`;
}

function shareRow(row, found) {
  const line = document.createElement("tr"), name = document.createElement("th");
  const [counted, share, drawn] = ["td", "td", "td"].map((tag) => document.createElement(tag));
  name.scope = "row";
  name.textContent = row.cell_type ? named(row.cell_type) : "erythroblast";
  counted.textContent = row.counted;
  const { value, low, high } = row.corrected;
  share.append(Object.assign(document.createElement("b"), { textContent: value.toFixed(1) }), ` (${low.toFixed(1)} to ${high.toFixed(1)})`);
  drawn.className = "drawn";
  if (row.cell_type) {
    const top = Math.min(100, 10 * Math.ceil(Math.max(...found.classes.map((one) => one.corrected.high)) / 10));
    const scale = document.createElement("div"), reach = document.createElement("i"), dot = document.createElement("b");
    scale.className = "interval";
    reach.style.left = `${(100 * low) / top}%`;
    reach.style.width = `${(100 * (high - low)) / top}%`;
    dot.style.left = `${(100 * value) / top}%`;
    scale.append(reach, dot);
    drawn.append(scale);
  } else drawn.append(Object.assign(document.createElement("small"), { textContent: "for each 100 white cells" }));
  line.append(name, counted, share, drawn);
  return line;
}

// --- to take away ----------------------------------------------------------------------------------------------------

function link(words, blob, name) {
  const place = document.createElement("a");
  place.href = URL.createObjectURL(blob);
  place.download = name;
  place.textContent = words;
  return place;
}

const fileName = (what) => `${[$("specimen").value.trim().replace(/[^\w.-]/g, "_"), what].filter(Boolean).join("-")}`;

$("csv").addEventListener("click", () => {
  const head = ["path", "predicted", "confidence", ...TYPES.map((type) => `p_${type}`), "error", "run_id", "action", "label", "request_id", "picture"];
  const rows = cells.map((cell) => {
    const { answer } = cell;
    const shares = TYPES.map((type) => answer?.probabilities[type] ?? "");
    const name = /^[=+@\t\r-]/.test(cell.file.name) ? `./${cell.file.name}` : cell.file.name; // a formula, to a spreadsheet
    return [name, answer?.predicted ?? "", answer?.confidence ?? "", ...shares, cell.error ?? "", cell.run ?? "", answer?.action ?? "", cell.label ?? "", cell.request ?? "", cell.picture ?? ""];
  });
  const field = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const text = [head, ...rows].map((row) => row.map(field).join(",")).join("\n");
  link("", new Blob([`${text}\n`], { type: "text/csv" }), fileName("cells.csv")).click();
});

// The service reads the pictures once more, with the labels, and makes the report of what it sees itself.
$("report").addEventListener("click", async () => {
  const number = smear, readable = cells.filter((cell) => cell.answer);
  const status = (words) => number === smear && ($("report-status").textContent = words);
  $("report").disabled = true;
  $("report-links").replaceChildren();
  try {
    const form = new FormData();
    const before = readable.map((cell) => ({ request_id: cell.request, picture: cell.picture, label: cell.label ?? null }));
    form.append("cells", JSON.stringify(before));
    if ($("specimen").value.trim()) form.append("specimen", $("specimen").value.trim());
    for (const cell of readable) form.append("files", cell.file, cell.file.name);
    status("Sending the pictures…");
    let job = await (await ask("v1/smears", { method: "POST", body: form })).json();
    while (job.state === "running") {
      status(`${job.read} of ${job.pictures} pictures read…`);
      await pause(0.5);
      job = await (await ask(`v1/smears/${job.id}`)).json();
    }
    if (job.state !== "done") throw new Refused(0, job.detail);
    const page = await (await ask(`v1/smears/${job.id}/report.html`)).blob();
    const table = await (await ask(`v1/smears/${job.id}/cells.csv`)).blob();
    if (number !== smear) return;
    $("report-links").append(
      link("Download the report", page, fileName("report.html")),
      link("its cells", table, fileName("report-cells.csv")),
    );
    status("");
    $("report-links").firstChild.focus();
  } catch (refused) {
    status("");
    say(refused.message);
  } finally {
    tell();
  }
});

$("door").hidden = false;
$("user").focus();
