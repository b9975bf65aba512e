// The tool that moves and scales the person on the stage, by mouse, fingers and keys; it also drags the comparison's line.

import { corners, isInside, moved, predict, scaled } from "./placement.js";

const NEAR = { mouse: 12, pen: 16, touch: 26 }; // [px] to a handle or line that still takes hold of it
const NUDGE = 0.01; // of the result, per arrow key

export class MoveTool {
  #stage;
  #history;
  #result; // () -> the latest answer
  #held = null; // {kind, from: point in shares, person, corner}

  constructor(stage, history, result) {
    this.#stage = stage;
    this.#history = history;
    this.#result = result;
  }

  /** The person by now: {box, scale, x, y}, or null. */
  get person() {
    const result = this.#result();
    if (!result) return null;
    return predict(result.placement, this.#history.present.settings, result.document.settings);
  }

  get isBusy() {
    return this.#held !== null;
  }

  #hit(point, pointerType) {
    const near = NEAR[pointerType] ?? NEAR.mouse;
    const divider = this.#stage.dividerX;
    if (divider !== null && Math.abs(point.x - divider) < near + 4) return { kind: "divider", cursor: "ew-resize" };
    const { person } = this;
    if (!person) return null;
    for (const corner of corners(person.box)) {
      const at = this.#stage.toStage(corner);
      if (Math.hypot(at.x - point.x, at.y - point.y) < near) {
        return { kind: "scale", corner, person, cursor: corner.isFalling ? "nwse-resize" : "nesw-resize" };
      }
    }
    return isInside(person.box, this.#stage.view.toShare(point.x, point.y)) ? { kind: "move", person, cursor: "move" } : null;
  }

  hover(point, event) {
    const hit = this.#hit(point, event.pointerType);
    this.#stage.canvas.style.cursor = hit?.cursor ?? "";
    this.#show(hit && hit.kind !== "divider");
  }

  leave() {
    this.#show(false);
  }

  #show(isShown) {
    this.#stage.person = isShown ? (this.person?.box ?? null) : null;
    this.#stage.draw();
  }

  down(point, event) {
    const hit = this.#hit(point, event.pointerType);
    if (!hit) return false;
    this.#history.seal();
    this.#held = { ...hit, from: this.#stage.view.toShare(point.x, point.y), before: this.#history.present };
    return true;
  }

  move(point, event) {
    const { kind, from, person, corner } = this.#held;
    if (kind === "divider") {
      this.#stage.compare = this.#stage.compareAt(point.x);
      return this.#stage.viewChanged();
    }
    const at = this.#stage.view.toShare(point.x, point.y);
    if (kind === "move") {
      const [dx, dy] = straight(at.x - from.x, at.y - from.y, event.shiftKey);
      if (Math.abs(dx) + Math.abs(dy) > 0.001 || this.#history.present !== this.#held.before) {
        this.#give(moved(person, dx, dy), "drag");
      }
    } else {
      const { opposite } = corner;
      const { width, height } = this.#stage.view.rect;
      const length = (to) => Math.hypot((to.x - opposite.x) * width, (to.y - opposite.y) * height);
      this.#give(scaled(person, Math.max(length(at), 8) / length(corner), opposite), "drag");
    }
    return this.#show(true);
  }

  up(point, event) {
    this.#held = null;
    this.#history.seal();
    this.hover(point, event);
  }

  cancel() {
    this.#held = null;
    this.#history.seal();
  }

  /** Scale the person under the mouse; say false where nobody is there. */
  wheel(factor, point) {
    const { person } = this;
    const at = this.#stage.view.toShare(point.x, point.y);
    if (!person || !isInside(person.box, at)) return false;
    this.#give(scaled(person, factor, { x: person.x, y: person.y }), "wheel");
    this.#show(true);
    return true;
  }

  /** Scale and move the person between two fingers; say false where nobody is between them. */
  pinch(factor, middle, shift) {
    const { person } = this;
    const at = this.#stage.view.toShare(middle.x, middle.y);
    if (!person || !(this.isPinching || isInside(person.box, at))) return false;
    this.isPinching = true;
    const { width, height } = this.#stage.view.rect;
    const to = scaled(person, factor, at);
    this.#give(moved(to, shift.x / width, shift.y / height), "pinch");
    this.#show(true);
    return true;
  }

  pinched() {
    this.isPinching = false;
    this.#history.seal();
  }

  /** Move or scale by a key; say whether the key means something here. */
  key(event) {
    const step = NUDGE * (event.shiftKey ? 5 : 1);
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    const factor = { "+": 1.02, "=": 1.02, "-": 1 / 1.02 }[event.key];
    const { person } = this;
    if (!person || (!dx && !dy && !factor)) return false;
    const to = factor ? scaled(person, factor, person) : moved(person, dx * step, dy * step);
    this.#give(to, `key ${event.key}`);
    this.#show(true);
    return true;
  }

  #give(to, tag) {
    this.#history.set(to, tag); // all three: what is automatic depends on the others, and must not jump
  }
}

/** With the shift key, a person moves straight. */
function straight(dx, dy, isStraight) {
  if (!isStraight) return [dx, dy];
  return Math.abs(dx) > Math.abs(dy) ? [dx, 0] : [0, dy];
}
