"use strict";
// Pictures of the queue, one at a time, for whoever may label. Neither the model's answer nor what others have said is
// asked for or shown: who reads a picture shall say what they see. Loaded after bench.js, whose ask() and say() it uses.

const BATCH = 100;

let queued = []; // that wait for this caller: {request_id, picture, reasons}
let left = 0; // how many there are of them, as far as the service has told
let looking = null; // the one that is shown
let given = null; // the one labelled last, which may be taken back
let busy = false;
const skipped = new Set(); // until the page is loaded again
const loaded = new Map(); // name to a promise of the picture's address, null where it is gone

const nameOf = (item) => `${item.request_id}/${item.picture}`;

function showView(review) {
  $("bench").hidden = review;
  $("review").hidden = !review;
  $("to-smear").setAttribute("aria-pressed", !review);
  $("to-review").setAttribute("aria-pressed", review);
  say("");
  if (review) begin();
}

$("to-smear").addEventListener("click", () => showView(false));
$("to-review").addEventListener("click", () => showView(true));

addEventListener("signed-in", () => {
  $("views").hidden = !may("review");
  $("to-smear").setAttribute("aria-pressed", true);
  $("to-review").setAttribute("aria-pressed", false);
});

addEventListener("signed-out", () => {
  $("views").hidden = $("review").hidden = true;
  forgetQueue();
});

function forgetQueue() {
  for (const address of loaded.values()) address.then((url) => url && URL.revokeObjectURL(url));
  loaded.clear();
  skipped.clear();
  queued = [];
  looking = given = null;
}

/** The address of an item's picture; null where it is kept no more. */
function load(item) {
  const name = nameOf(item);
  if (!loaded.has(name))
    loaded.set(
      name,
      ask(`v1/queue/${name}`)
        .then(async (answer) => URL.createObjectURL(await answer.blob()))
        .catch((refused) => {
          if (refused.status !== 404) say(refused.message);
          return null;
        }),
    );
  return loaded.get(name);
}

function drop(item) {
  const name = nameOf(item);
  loaded.get(name)?.then((url) => url && URL.revokeObjectURL(url));
  loaded.delete(name);
}

async function begin() {
  queued = [];
  looking = null;
  $("review-status").textContent = "Asking…";
  await nextPicture();
}

/** Show the next picture that is there, and load the one after it. */
async function nextPicture() {
  busy = true;
  try {
    for (;;) {
      if (!queued.length) {
        const found = await (await ask(`v1/queue?limit=${BATCH}`)).json();
        left = found.left;
        queued = found.items.filter((item) => !skipped.has(nameOf(item)));
      }
      looking = queued.shift() ?? null;
      const url = looking && (await load(looking));
      if (!looking || url) {
        if (queued[0]) load(queued[0]);
        look(url);
        return;
      }
      skipped.add(nameOf(looking)); // its image is gone
    }
  } catch (refused) {
    looking = null;
    look(null);
    say(refused.message);
  } finally {
    busy = false;
  }
}

function look(url) {
  $("queued").hidden = !looking;
  $("review-status").textContent = looking
    ? `${left} ${left === 1 ? "picture waits" : "pictures wait"} for you.`
    : `Nothing waits for you${skipped.size ? " but what you left out" : ""}.`;
  if (looking) {
    $("queued-picture").src = url;
    $("queued-picture").alt = `Picture ${looking.picture} of request ${looking.request_id}`;
    $("queued-why").replaceChildren(
      ...looking.reasons.map((words) => Object.assign(document.createElement("li"), { textContent: words })),
    );
  }
  $("queued-back").disabled = !given;
}

$("queued-picture").addEventListener("error", () => say("This browser does not show such a picture. Leave it out.", "warn"));

async function judge(label) {
  const item = looking;
  if (!item || busy) return;
  busy = true;
  try {
    await post("v1/labels", { request_id: item.request_id, picture: item.picture, label, blind: true });
    say("");
  } catch (refused) {
    say(refused.message);
    busy = false;
    return;
  }
  if (given) drop(given);
  given = item;
  left = Math.max(0, left - 1);
  $("review-said").textContent = `Said: ${named(label)}.`;
  await nextPicture();
}

async function takeBack() {
  const item = given;
  if (!item || busy) return;
  busy = true;
  try {
    await post("v1/labels", { request_id: item.request_id, picture: item.picture, label: null });
    given = null;
    if (looking) queued.unshift(looking);
    queued.unshift(item);
    left += 1;
    $("review-said").textContent = "Taken back.";
    await nextPicture();
  } catch (refused) {
    say(refused.message);
  } finally {
    busy = false;
  }
}

async function leaveOut() {
  if (!looking || busy) return;
  skipped.add(nameOf(looking));
  drop(looking);
  await nextPicture();
}

[...TYPES, NO_CELL].forEach((type, place) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.append(Object.assign(document.createElement("kbd"), { textContent: type === NO_CELL ? 0 : place + 1 }), ` ${named(type)}`);
  button.addEventListener("click", () => judge(type));
  $("queued-types").append(button);
});
$("queued-back").addEventListener("click", takeBack);
$("queued-skip").addEventListener("click", leaveOut);

addEventListener("keydown", (event) => {
  if ($("review").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (/^[1-8]$/.test(event.key)) judge(TYPES[event.key - 1]);
  else if (event.key === "0") judge(NO_CELL);
  else if (event.key === "Delete" || event.key === "Backspace") takeBack();
  else if (event.key === "s") leaveOut();
  else return;
  event.preventDefault();
});
