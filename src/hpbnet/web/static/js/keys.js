// The keyboard: keys work wherever the focus is, except where something is typed or a slider is moved.

import { find } from "./dom.js";

const isTyping = (target) => target.matches?.('input:not([type="checkbox"], [type="range"]), select, textarea');
const isMoving = (target, key) => target.matches?.('input[type="range"], .dot, select, video') && /^Arrow|^Page|Home|End/.test(key);

/** Wire all keys.  Args: app; zoomTo: (zoom or null to fit) -> void; download: () -> void. */
export function wireKeys(app, { zoomTo, download }) {
  const single = {
    c: () => find("#compare").click(),
    b: () => find("#brush").click(),
    f: () => find("#flip").click(),
    0: () => zoomTo(null),
    1: () => zoomTo(1),
    "?": () => find("#help").click(),
    Escape: () => app.toggleBrush(false),
  };
  const withControl = {
    z: () => app.history.undo(),
    Z: () => app.history.redo(),
    y: () => app.history.redo(),
    s: download,
  };
  addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.defaultPrevented || find("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      const run = withControl[event.shiftKey ? key.toUpperCase() : key.toLowerCase()];
      const isText = isTyping(target) && /[zy]/i.test(key);
      if (!run || isText || event.altKey) return;
      event.preventDefault();
      run();
      return;
    }
    if (event.altKey || isTyping(target) || isMoving(target, key)) return;
    if (key === " " && target === app.stage.canvas) {
      event.preventDefault();
      app.gestures.holdSpace(true);
      return;
    }
    if (document.body.dataset.state === "empty") return;
    const tool = app.stage.brush ? app.brush : app.move;
    const isStage = target === app.stage.canvas || target === document.body || !/^Arrow|[+=-]/.test(key);
    if (isStage && tool.key(event)) {
      event.preventDefault();
      app.update();
      return;
    }
    const run = single[key.length === 1 ? key.toLowerCase() : key];
    if (!run || (key === "Escape" && !app.stage.brush)) return;
    event.preventDefault();
    run();
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") app.gestures.holdSpace(false);
    if (/^Arrow|[+=-]/.test(event.key)) app.history.seal();
  });
}
