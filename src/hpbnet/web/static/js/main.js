// The page begins here: everything that a user can press, drop or type is wired to the app.

import { getJson } from "./api.js";
import { App } from "./app.js";
import { takePicture } from "./camera.js";
import { clamp, find, findAll, loadIcons, make } from "./dom.js";
import { save, wireDownloads } from "./download.js";
import { wireKeys } from "./keys.js";
import { readSettings, wireSources } from "./sources.js";

const app = new App();
const { history, stage, messages } = app;
const LARGEST_BRUSH = 0.2; // share of the portrait's width, at the end of the slider
const on = (selector, type, run) => find(selector).addEventListener(type, run);
const setIcons = (selector, isPressed) => find(selector).setAttribute("aria-pressed", String(isPressed));

function wireBar() {
  on("#undo", "click", () => history.undo());
  on("#redo", "click", () => history.redo());
  on("#reset", "click", () => history.change({ settings: Object.freeze({}) }));
  on("#theme", "click", () => messages.say(`${window.switchTheme()} colours`));
  on("#help", "click", () => find("#keys").showModal());
  on("#make-video", "click", () => app.makeVideo());
  on("#clip-close", "click", () => app.clip.close());
  on("#swap", "click", () => app.swap());
}

function wireTools() {
  on("#compare", "click", () => app.setCompare(stage.compare === null ? 0.5 : null));
  on("#compare-range", "input", ({ target }) => app.setCompare(target.value / 100));
  on("#flip", "click", () => history.set({ flip: history.present.settings.flip ? undefined : true }));
  on("#live", "click", () => app.toggleLive());
  on("#live-stop", "click", () => app.toggleLive());
  on("#live-save", "click", () => saveFrame());
  on("#zoom-in", "click", () => zoomBy(1.5));
  on("#zoom-out", "click", () => zoomBy(1 / 1.5));
  on("#zoom-value", "click", () => zoomTo(stage.view.isFitted ? 1 : null));
  stage.canvas.addEventListener("dblclick", (event) => {
    if (!stage.brush) zoomTo(stage.view.isFitted ? 1 : null, stage.point(event));
  });
  stage.canvas.addEventListener("view", showZoom);
}

function wireBrush() {
  const { brush } = app;
  on("#brush", "click", () => app.toggleBrush());
  on("#notices", "click", ({ target }) => target.closest("[data-mend]") && app.toggleBrush(true));
  on("#brush-done", "click", () => app.toggleBrush(false));
  on("#brush-keep", "click", () => setKeep(true));
  on("#brush-remove", "click", () => setKeep(false));
  on("#brush-size", "input", ({ target }) => (brush.radius = LARGEST_BRUSH * (0.02 + target.value / 102) ** 2));
  on("#brush-softness", "input", ({ target }) => (brush.softness = target.value / 100));
  on("#brush-clear", "click", () => {
    if (history.present.strokes.length || history.present.mask) history.change({ strokes: Object.freeze([]), mask: null });
  });
  const setKeep = (isKeep) => {
    brush.isKeep = isKeep;
    showTools();
  };
}

function zoomTo(zoom, at) {
  if (zoom === null) stage.view.fit();
  else stage.view.zoomTo(zoom, at);
  stage.viewChanged();
}

const zoomBy = (factor) => zoomTo(stage.view.zoom * factor);

function showZoom() {
  const percent = app.previewer.result || stage.brush || app.live.isOn ? Math.round(stage.view.zoom * 100) : "–";
  find("#zoom-value").textContent = `${percent} %`;
  find("#compare-range").value = 100 * (stage.compare ?? 0.5);
  find("#zoom-value").setAttribute("aria-label", `Zoom ${percent} %, ${stage.view.isFitted ? "fitted" : "press to fit"}`);
}

function saveFrame() {
  const canvas = make("canvas", { width: stage.picture.width, height: stage.picture.height });
  canvas.getContext("2d").drawImage(stage.picture, 0, 0);
  canvas.toBlob((blob) => save(blob, "hpbnet-live.png"), "image/png");
}

function showTools() {
  const { strokes, mask } = history.present;
  find("#undo").disabled = !history.canUndo;
  find("#redo").disabled = !history.canRedo;
  find("#reset").disabled = !Object.keys(history.present.settings).length;
  setIcons("#compare", stage.compare !== null);
  setIcons("#flip", Boolean(history.present.settings.flip));
  setIcons("#brush", Boolean(stage.brush));
  setIcons("#live", app.live.isOn);
  setIcons("#brush-keep", app.brush.isKeep);
  setIcons("#brush-remove", !app.brush.isKeep);
  find("#brush-size").value = Math.round((Math.sqrt(app.brush.radius / LARGEST_BRUSH) - 0.02) * 102);
  find("#brush-bar").hidden = !stage.brush;
  find("#live-bar").hidden = !app.live.isOn;
  find("#compare-line").hidden = stage.compare === null || Boolean(stage.brush);
  find("#compare-range").value = 100 * (stage.compare ?? 0.5);
  find("#brush-clear").textContent = mask ? "Remove the mask" : "Clear strokes";
  find("#brush-clear").disabled = !strokes.length && !mask;
  for (const each of ["#compare", "#flip"]) find(each).disabled = app.live.isOn;
  find("#brush").disabled = !app.canMend;
}

let thumbnails = 0;

function showThumbnails() {
  for (const role of ["portrait", "background"]) {
    const source = history.present[role];
    const slot = find(`.slot[data-role="${role}"]`);
    const image = find("img", slot);
    const isHeld = source !== null && app.session.held(role) === source;
    image.hidden = !isHeld;
    find(".pick", slot).setAttribute("aria-label", source ? `${role}: ${source.name}. Choose another` : `Choose a ${role}`);
    find(".pick", slot).title = source?.name ?? "";
    if (isHeld && image.source !== source) {
      image.source = source;
      thumbnails += 1; // another address for another picture, or the browser shows the old one
      image.src = `${app.session.path}/${role}?side=640&version=${thumbnails}`;
    }
  }
}

function wireFiles() {
  const give = (files) => {
    const sources = Object.entries(files).map(([role, file]) => [role, Object.freeze({ name: file.name, file })]);
    app.give(Object.fromEntries(sources));
  };
  wireSources(() => history.present, give, (file) => dropSettings(file));
  for (const button of findAll("[data-take]")) {
    button.addEventListener("click", async () => {
      try {
        const file = await takePicture(button.dataset.take);
        if (file) give({ [button.dataset.take]: file });
      } catch (problem) {
        app.fail(problem);
      }
    });
  }
}

async function dropSettings(file) {
  try {
    const values = await readSettings(file);
    const ignored = app.takeSettings(values);
    messages.say(`Settings of ${file.name}`);
    if (!ignored.length) return messages.solved("settings");
    messages.problem({ title: "Some settings are not known here", detail: `${ignored.join(", ")}: left out` }, "settings");
  } catch (error) {
    messages.problem({ title: "These are no settings", detail: error.message }, "settings");
  }
}

async function showExamples() {
  const { pairs } = await getJson("studio/examples").catch(() => ({ pairs: [] }));
  find("#examples").hidden = !pairs.length;
  find("#examples > div").append(...pairs.slice(0, 2).map(({ title, portrait, background }) => {
    const image = (name) => make("img", { src: `studio/examples/${name}`, alt: "" });
    const button = make("button", { type: "button" }, image(background), image(portrait), title);
    button.addEventListener("click", () => app.give({
      portrait: Object.freeze({ name: portrait, example: portrait }),
      background: Object.freeze({ name: background, example: background }),
    }));
    return button;
  }));
}

wireBar();
wireTools();
wireBrush();
wireFiles();
wireKeys(app, { zoomTo, download: () => find("#download").click() });
wireDownloads(
  (format, quality) => app.session.request(history.present, "POST", "download", { json: { settings: app.settings, format, quality } }),
  {
    busy: (isBusy) => messages.busy("download", isBusy),
    done: (name) => messages.say(`${name} is saved`),
    failed: (problem) => app.fail(problem),
  },
);
app.addEventListener("shown", showZoom);
app.addEventListener("update", () => {
  showTools();
  showThumbnails();
});
stage.canvas.addEventListener("pointermove", () => app.stage.brush && showBrushSize());
const showBrushSize = () => {
  find("#brush-size").value = clamp(Math.round((Math.sqrt(app.brush.radius / LARGEST_BRUSH) - 0.02) * 102), 0, 100);
};
addEventListener("pagehide", (event) => event.persisted || app.session.close());
loadIcons().catch(() => {});
await app.begin();
await showExamples();
document.body.dataset.begun = "";
