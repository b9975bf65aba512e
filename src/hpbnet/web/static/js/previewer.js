// Keeps the picture on the stage up to date: asks for what is most needed, one request at a time, never for old states.

import { Problem, jsonHeader } from "./api.js";

const LIVE_SIDE = 1280; // [px] while something moves
const SLOW_SIDE = 640; // the same on a slow computer
const SLOW = 250; // [ms] of an answer; a computer is slow that takes longer
const OFTEN = 4; // times in a row
const CALM = 300; // [ms] without a change, after which the picture is asked in the stage's full sharpness
const MOST_SIDE = 8192;

const KEPT = new Set(["Place", "Background", "Cut-out", "Video"]); // groups that decide where things are, not how they look

/** Settings for the unchanged person: same place, nothing done to colours, light or edges. */
export function untouched(settings, fields) {
  const plain = {};
  for (const [name, field] of Object.entries(fields)) {
    if (KEPT.has(field.group)) {
      if (name in settings) plain[name] = settings[name];
    } else if (field.kind === "number") {
      plain[name] = Math.max(0, field.minimum ?? 0);
    }
  }
  return plain;
}

export class Previewer extends EventTarget {
  #session;
  #wanted; // () -> {document, settings, before: settings or null, side: [px] that the stage can show}
  #running = false;
  #sequence = 0;
  #failed = null; // the need that was refused: it is not asked for again
  #changed = 0; // when the document changed last [ms]
  #timer = 0;
  #liveSide = LIVE_SIDE;
  #lastWasResult = false;
  #lastSide = 0;
  #slow = 0; // answers in a row that took long
  result = null; // {bitmap, document, side, placement, size, notices}
  before = null; // {bitmap, key, side}
  latency = 0; // [ms] of the latest answer

  constructor(session, wanted) {
    super();
    this.#session = session;
    this.#wanted = wanted;
  }

  /** Something may be out of date: see to it. */
  poke() {
    if (!this.#running) this.#run();
  }

  /** The document has changed: the picture is asked quickly first, sharply when it is calm. */
  touch() {
    this.#changed = performance.now();
    this.#failed = null;
    this.poke();
  }

  /** Forget what is shown, as nothing on the server is known to be the same. */
  clear() {
    this.result = this.before = this.#failed = null;
    this.dispatchEvent(new Event("result"));
  }

  #need() {
    const { document, settings, before, side } = this.#wanted();
    if (!document.portrait || !document.background) {
      return this.#session.holds(document) ? null : { key: document, isUpload: true };
    }
    const calm = performance.now() - this.#changed >= CALM;
    const full = this.result ? Math.max(this.result.size.width, this.result.size.height) : MOST_SIDE;
    const sharp = Math.min(Math.max(side, LIVE_SIDE), full, MOST_SIDE);
    const live = Math.min(this.#liveSide, sharp);
    const isOld = this.result?.document !== document;
    const compared = before && this.result && this.#beforeNeed(document, before);
    if (compared && (!isOld || this.#lastWasResult)) return compared; // in turns, while the person is dragged
    if (isOld) return { key: document, settings, side: calm ? LIVE_SIDE : live };
    if (this.result.side < sharp) {
      if (calm) return { key: document, settings, side: sharp };
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.poke(), CALM);
    }
    return null;
  }

  #beforeNeed(document, settings) {
    const { side } = this.result;
    const key = JSON.stringify(settings) + side;
    const { portrait, background } = document;
    const isShown = this.before?.key === key && this.before.source === portrait && this.before.scene === background;
    return isShown ? null : { key, settings, side, isBefore: true };
  }

  async #run() {
    this.#running = true;
    for (;;) {
      const need = this.#need();
      if (!need || (this.#failed && this.#failed.key === need.key && this.#failed.side === need.side)) break;
      this.dispatchEvent(new CustomEvent("busy", { detail: true }));
      try {
        await this.#fetch(need);
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(500, "The picture cannot be shown", error.message);
        if (problem.status === 409 && problem.type === "stale") continue;
        this.#failed = need;
        this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
      }
    }
    this.#running = false;
    this.dispatchEvent(new CustomEvent("busy", { detail: false }));
  }

  async #fetch(need) {
    const { document, settings } = this.#wanted();
    if (need.isUpload) return this.#session.ensure(document);
    const isHeld = this.#session.holds(document);
    const json = { settings: need.isBefore ? need.settings : settings, side: need.side, sequence: ++this.#sequence };
    const began = performance.now();
    const answer = await this.#session.request(document, "POST", "preview", { json });
    const bitmap = await createImageBitmap(await answer.blob());
    this.#measure(performance.now() - began, need.side, !isHeld);
    const old = need.isBefore ? this.before : this.result;
    this.#lastWasResult = !need.isBefore;
    if (need.isBefore) {
      const { portrait: source, background: scene } = document;
      this.before = { bitmap, key: need.key, source, scene };
    } else {
      this.result = this.#resultOf(answer, bitmap, document, need.side);
    }
    this.dispatchEvent(new Event("result"));
    return old?.bitmap.close(); // it is not shown any more
  }

  #resultOf(answer, bitmap, document, side) {
    const [width, height] = (answer.headers.get("X-Hpbnet-Size") ?? "").split("x").map(Number);
    return {
      bitmap,
      document,
      side,
      size: width && height ? { width, height } : { width: bitmap.width, height: bitmap.height },
      placement: jsonHeader(answer, "X-Hpbnet-Placement"),
      notices: jsonHeader(answer, "X-Hpbnet-Notices") ?? [],
    };
  }

  /** Ask for less while something moves, where this computer is slow. The first answer of a size takes longer anyway. */
  #measure(milliseconds, side, isFirst) {
    this.latency = milliseconds;
    const isNew = isFirst || side !== this.#lastSide;
    this.#slow = isNew || milliseconds < SLOW ? 0 : this.#slow + 1;
    this.#lastSide = side;
    if (this.#slow >= OFTEN) this.#liveSide = SLOW_SIDE;
  }
}
