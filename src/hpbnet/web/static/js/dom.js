// Small helpers to make and find elements. No inline styles or handlers: the page's policy forbids them.

export const find = (selector, root = document) => root.querySelector(selector);
export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Make an element: `make("button", {class: "icon", type: "button"}, "text", child)`. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Put the icons into the page, so that they are there when the server is not. */
export async function loadIcons() {
  const text = await (await fetch("static/icons.svg")).text();
  const sprite = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  sprite.setAttribute("hidden", "");
  document.body.append(document.adoptNode(sprite));
}

/** Make an icon of the sprite `icons.svg`. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** "light_wrap" -> "Light wrap". */
export const title = (name) => (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll("_", " ");

/** Seconds as people say them: "12 s", "3 min 20 s". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
