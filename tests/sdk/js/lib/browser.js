// Chromium without a window, where it is installed (Debian: apt-get install chromium).

import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { launch } from "./group.js";

/** The program, or undefined. */
export const CHROMIUM = (process.env.PATH ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "chromium"))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

// It asks nobody but the page's own server.
const WITHOUT = ["background-networking", "component-update", "dev-shm-usage", "gpu", "quic", "sync"];

/** A page that stays open until `stop()`. */
export async function open(url) {
  const profile = await mkdtemp(join(tmpdir(), "dormouse-browser-"));
  const stays = ["--remote-debugging-port=0", `--user-data-dir=${profile}`];
  const args = ["--headless", "--no-sandbox", "--no-first-run", ...WITHOUT.map((what) => `--disable-${what}`), ...stays, url];
  const browser = launch(CHROMIUM, args, { cwd: profile, env: {} });
  const stop = async () => {
    await browser.stop();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { stop, log: browser.log };
}
