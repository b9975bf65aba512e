// The lamp: a dot dragged on a small sphere. Its place says from where the light comes, as azimuth and elevation [deg].

import { clamp, make } from "./dom.js";

const RADIUS = 40; // [px] of the sphere
const DEGREE = Math.PI / 180;
const STEP = 5; // [deg] of an arrow key

/** Azimuth: 0 before the person, 90 from the right side of the picture; elevation: 90 from above. */
export const toDot = ([azimuth, elevation]) => ({
  x: Math.sin(azimuth * DEGREE) * Math.cos(elevation * DEGREE),
  y: -Math.sin(elevation * DEGREE),
});

export function fromDot(x, y) {
  const length = Math.hypot(x, y);
  const [u, v] = length > 1 ? [x / length, y / length] : [x, y];
  const elevation = Math.asin(clamp(-v, -1, 1)) / DEGREE;
  const azimuth = Math.asin(clamp(u / Math.max(Math.cos(elevation * DEGREE), 1e-6), -1, 1)) / DEGREE;
  return [Math.round(azimuth), Math.round(elevation)];
}

export function makeLamp(field, id, set) {
  const dot = make("button", { id, type: "button", class: "dot", "aria-describedby": `${id}-help` });
  const sphere = make("div", { class: "sphere" }, dot);
  const off = make("button", { type: "button", class: "plain" }, "No lamp");
  const text = make("output", { for: id });
  const isText = field.kind === "string";
  let rest = []; // colour and strength, where the setting has them
  let at = [0, 0];
  const give = (place, isLast) => set(isText ? [...place, ...rest].join(",") : [...place, ...rest], isLast);
  const drag = (event, isLast) => {
    const box = sphere.getBoundingClientRect();
    give(fromDot((event.clientX - box.left) / box.width * 2 - 1, (event.clientY - box.top) / box.height * 2 - 1), isLast);
  };
  sphere.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    sphere.setPointerCapture(event.pointerId);
    dot.focus();
    drag(event, false);
  });
  sphere.addEventListener("pointermove", (event) => sphere.hasPointerCapture(event.pointerId) && drag(event, false));
  sphere.addEventListener("pointerup", (event) => drag(event, true));
  dot.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    give([clamp(at[0] + dx * STEP, -90, 90), clamp(at[1] + dy * STEP, -90, 90)], true);
  });
  off.addEventListener("click", () => set(field.default));
  const show = (value) => {
    const parts = typeof value === "string" && value ? value.split(",") : value;
    const isOn = Boolean(parts?.length);
    if (isOn) [at, rest] = [parts.slice(0, 2).map(Number), parts.slice(2)];
    else [at, rest] = [[0, 0], []];
    const { x, y } = toDot(at);
    sphere.style.setProperty("--x", `${RADIUS + x * RADIUS}px`);
    sphere.style.setProperty("--y", `${RADIUS + y * RADIUS}px`);
    sphere.classList.toggle("is-on", isOn);
    off.hidden = !isOn;
    text.textContent = isOn ? `${at[0]}° across, ${at[1]}° up` : "Drag the dot to add a lamp";
    dot.setAttribute("aria-label", `${field.label}: ${isOn ? text.textContent : "off"}`);
  };
  return { control: make("div", { class: "lamp" }, sphere, make("div", {}, text, off)), show, labels: false };
}
