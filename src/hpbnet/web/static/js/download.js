// The download menu: the result in many formats, made at full size by the server and saved by the browser.

import { find, findAll } from "./dom.js";

/** Save bytes under a name, as the browser saves a link's target. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function nameOf(response, fallback) {
  const said = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=(?:UTF-8'')?([^;]+)/i.exec(said)?.[1];
  return encoded ? decodeURIComponent(encoded) : (/filename="?([^";]+)"?/i.exec(said)?.[1] ?? fallback);
}

/** Wire the menu.
 *  Args: order: (format, quality) -> the server's answer; done: (name) -> void; failed: (problem) -> void. */
export function wireDownloads(order, { busy, done, failed }) {
  const menu = find("#download-menu");
  const quality = find("#quality");
  quality.addEventListener("input", () => (find("#quality-value").textContent = quality.value));
  for (const button of findAll("[data-format]", menu)) {
    button.addEventListener("click", async () => {
      const { format } = button.dataset;
      menu.hidePopover();
      busy(true);
      try {
        const answer = await order(format, Number(quality.value));
        const name = nameOf(answer, `hpbnet.${format}`);
        save(await answer.blob(), name);
        done(name);
      } catch (problem) {
        failed(problem);
      } finally {
        busy(false);
      }
    });
  }
}
