// Mouse, pen, fingers and wheel on the stage. One finger goes to the tool; two zoom the view, or scale what the tool holds.

const WHEEL = 0.0016; // of zoom per pixel of the wheel
const TOUCHED = 300; // [ms] in which two taps are a double tap

export class Gestures {
  #stage;
  #tool; // () -> {hover, leave, down, move, up, cancel, wheel, pinch}
  #pointers = new Map();
  #mode = null; // "tool", "pan" or "pinch"
  #tapped = 0;
  #isSpace = false;

  constructor(stage, tool) {
    this.#stage = stage;
    this.#tool = tool;
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event, false));
    canvas.addEventListener("pointercancel", (event) => this.#up(event, true));
    canvas.addEventListener("pointerleave", () => this.#pointers.size || this.#tool().leave());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("blur", () => this.holdSpace(false));
  }

  /** While the space bar is held, dragging moves the view. */
  holdSpace(isHeld) {
    this.#isSpace = isHeld;
    this.#stage.canvas.classList.toggle("is-pan", isHeld);
  }

  #down(event) {
    if (event.button > 1) return;
    const { canvas, view } = this.#stage;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const point = this.#stage.point(event);
    this.#pointers.set(event.pointerId, point);
    if (this.#pointers.size === 2) {
      if (this.#mode === "tool") this.#tool().cancel();
      this.#mode = "pinch";
      return;
    }
    if (this.#pointers.size > 2) return;
    if (event.pointerType === "touch") {
      if (event.timeStamp - this.#tapped < TOUCHED && !view.isFitted) {
        view.fit();
        this.#stage.viewChanged();
      }
      this.#tapped = event.timeStamp;
    }
    const isPan = event.button === 1 || this.#isSpace || !this.#tool().down(point, event);
    this.#mode = isPan ? "pan" : "tool";
    canvas.classList.toggle("is-panning", isPan);
  }

  #move(event) {
    const point = this.#stage.point(event);
    const last = this.#pointers.get(event.pointerId);
    if (!last) return this.#tool().hover(point, event);
    this.#pointers.set(event.pointerId, point);
    if (this.#mode === "tool") return this.#tool().move(point, event);
    if (this.#mode === "pinch") return this.#pinch(event.pointerId, last, point);
    this.#stage.view.pan(point.x - last.x, point.y - last.y);
    return this.#stage.viewChanged();
  }

  #up(event, isCancelled) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#mode === "tool") {
      if (isCancelled) this.#tool().cancel();
      else this.#tool().up(this.#stage.point(event), event);
    }
    if (this.#mode === "pinch" && this.#pointers.size === 1) this.#tool().pinched();
    if (this.#pointers.size === 0 || this.#mode === "tool") this.#mode = null;
    else this.#mode = "pan";
    this.#stage.canvas.classList.remove("is-panning");
  }

  #pinch(id, last, point) {
    const [other] = [...this.#pointers].filter(([key]) => key !== id).map(([, at]) => at);
    const factor = distance(point, other) / Math.max(distance(last, other), 1);
    const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
    const shift = { x: (point.x - last.x) / 2, y: (point.y - last.y) / 2 };
    if (this.#tool().pinch(factor, middle, shift)) return;
    const { view } = this.#stage;
    view.pan(shift.x, shift.y);
    view.zoomTo(view.zoom * factor, middle);
    this.#stage.viewChanged();
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    const point = this.#stage.point(event);
    const factor = Math.exp(-pixels * WHEEL * (event.ctrlKey && Math.abs(pixels) < 50 ? 5 : 1));
    if (!event.ctrlKey && !event.metaKey && this.#tool().wheel(factor, point)) return;
    const { view } = this.#stage;
    view.zoomTo(view.zoom * factor, point);
    this.#stage.viewChanged();
  }
}

const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);
