// A video that the server makes: its progress, the time left, cancelling, and the result.

import { Problem, getJson, send } from "./api.js";
import { duration, find, wait } from "./dom.js";

const EVERY = 400; // [ms] between two questions about progress

export class Clip extends EventTarget {
  #id = null;

  get isWorking() {
    return this.#id !== null;
  }

  /** Have a video made, and show it when it is done.
   *  Args: start: () -> the server's answer to the order.  Throws: Problem. */
  async make(start) {
    const bar = find("#clip");
    const progress = find("progress", bar);
    this.#open(true);
    bar.dataset.state = "working";
    progress.removeAttribute("value");
    this.#tell("Starting …");
    try {
      const { id } = await (await start()).json();
      this.#id = id;
      const job = await this.#follow(id, progress);
      if (job) this.#show(id);
      else this.#open(false);
      return job;
    } catch (problem) {
      this.#open(false);
      throw problem;
    } finally {
      this.#id = null;
    }
  }

  async #follow(id, progress) {
    while (this.#id === id) {
      const job = await getJson(`v1/videos/${id}`);
      if (this.#id !== id) break;
      if (job.state === "done") return job;
      if (job.state === "failed") throw new Problem(0, "The video could not be made", job.error ?? "");
      if (job.state === "cancelled") return null;
      this.#report(job, progress);
      await wait(EVERY);
    }
    return null;
  }

  #report(job, progress) {
    const { seconds: done, length: total, left, ahead } = job;
    if (total) progress.value = Math.min(1, done / total);
    if (job.state === "waiting") return this.#tell(ahead ? `Waiting for ${ahead} other videos …` : "Waiting …");
    const share = total ? `${Math.floor((100 * done) / total)} %` : `${duration(done ?? 0)} done`;
    return this.#tell(left === null || left === undefined ? `${share} …` : `${share}, about ${duration(left)} left`);
  }

  #open(isOpen) {
    find("#clip").hidden = !isOpen;
    this.dispatchEvent(new Event("bar"));
  }

  #tell(text) {
    find("#clip output").textContent = text;
  }

  #show(id) {
    const bar = find("#clip");
    const link = find("a", bar);
    bar.dataset.state = "done";
    link.href = `v1/videos/${id}/result`;
    this.#tell("The video is ready.");
    const video = find("#clip-result");
    video.src = link.href;
    video.hidden = false;
    link.focus();
  }

  /** Stop the work, or close the result. */
  close() {
    const id = this.#id;
    this.#id = null;
    const video = find("#clip-result");
    video.pause();
    video.hidden = true;
    video.removeAttribute("src");
    video.load();
    this.#open(false);
    if (id) send("DELETE", `v1/videos/${id}`).catch(() => {});
  }
}
