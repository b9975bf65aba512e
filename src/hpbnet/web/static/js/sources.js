// The two places for pictures: choose, drop, paste and camera put a file there. Also masks, and files of settings.

import { find, findAll } from "./dom.js";

const ROLES = ["portrait", "background"];
const MOST_SETTINGS = 1_000_000; // [bytes]

const isSettings = (file) => /\.json$/i.test(file.name) || file.type === "application/json";

/** Decode a source as the browser can; throws where it cannot, as with videos. */
export async function pictureOf({ file, example }) {
  return createImageBitmap(file ?? (await (await fetch(`studio/examples/${example}`)).blob()));
}

/** Read a file of settings -> an object of values by name.  Throws: Error with a sentence. */
export async function readSettings(file) {
  if (file.size > MOST_SETTINGS) throw new Error(`${file.name} is too large to hold settings.`);
  let values;
  try {
    values = JSON.parse(await file.text());
  } catch {
    throw new Error(`${file.name} is no readable JSON. Choose a file that “Settings” of the download menu made.`);
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new Error(`${file.name} holds no settings. Choose a file that “Settings” of the download menu made.`);
  }
  return values;
}

/** Wire choosing, dropping and pasting.
 *  Args: present: () -> the document; give: ({portrait, background, mask: files}) -> void; settings: (file) -> void. */
export function wireSources(present, give, settings) {
  for (const role of [...ROLES, "mask"]) {
    const input = find(`#file-${role}`);
    for (const button of findAll(`[data-choose="${role}"]`)) button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files.length) take([...input.files], role);
      input.value = ""; // the same file may be chosen again
    });
  }

  function take(files, role) {
    files.filter(isSettings).forEach(settings);
    const pictures = files.filter((file) => !isSettings(file));
    if (pictures.length) give(assign(pictures, role, present()));
  }

  wireDrops(take);
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files, event.target.closest?.("[data-role]")?.dataset.role);
  });
}

/** Say which file is which: the place where they were put, else what is missing, else the background. */
export function assign(files, role, document) {
  if (role === "mask") return { mask: files[0] };
  if (files.length > 1) {
    const [first, second] = role === "background" ? [files[1], files[0]] : files;
    return { portrait: first, background: second };
  }
  const free = ROLES.find((each) => !document[each]);
  return { [role ?? free ?? "background"]: files[0] };
}

function wireDrops(take) {
  const veil = find("#veil");
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (isShown) => (veil.hidden = !isShown);
  const mark = (target) => {
    const place = target?.closest?.("[data-drop]");
    for (const each of findAll("[data-drop]")) each.classList.toggle("is-target", each === place);
  };
  addEventListener("dragenter", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth += 1;
    show(document.body.dataset.state !== "empty"); // the empty page shows the places anyway
    mark(event.target);
  });
  addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) {
      show(false);
      mark(null);
    }
  });
  addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    mark(null);
    take([...event.dataTransfer.files], event.target.closest?.("[data-drop]")?.dataset.drop);
  });
}
