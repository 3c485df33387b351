// SPDX-License-Identifier: EUPL-1.2
// A Chromium with the citizen's page in it, from file:// and without a network, and a list of checks to run over it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

import { picked } from "./bundles.mjs";

// Driver and axe lie outside of the tree; who starts us says where.
const require = createRequire(join(process.env.VISTO_BROWSER, "node_modules/"));
const { chromium } = require("playwright-core");
export const { AxeBuilder } = require("@axe-core/playwright");

export async function start(executablePath) {
  // Without a sandbox: in containers its name spaces are not to be had, and the page is our own.
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  return { open: (file, options) => open(browser, file, options), close: () => browser.close() };
}

/** A page of its own. Closing it demands that it threw nothing and asked nobody for anything. */
async function open(browser, file, { locale = "it-IT", before, ...options } = {}) {
  const context = await browser.newContext({ locale, viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  const heard = [];
  page.on("pageerror", (error) => heard.push(`error: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && heard.push(`console: ${message.text()}`));
  page.on("request", (request) => /^(file|blob|data):/.test(request.url()) || heard.push(`asked for ${request.url()}`));
  if (before !== undefined) await page.addInitScript(before);
  const started = performance.now();
  await page.goto(pathToFileURL(file).href);
  const close = async () => {
    assert.deepEqual(heard, [], "errors, or calls to a network");
    await context.close();
  };
  return { page, started, close };
}

export const state = (page, wanted) => page.waitForSelector(`body[data-state="${wanted}"]`, { timeout: 240_000, state: "attached" });
export const verdict = (page) => page.locator("#verdict").getAttribute("data-verdict");
export const faults = (page) => page.locator("[data-fault]").evaluateAll((all) => all.map((one) => one.dataset.fault));

export async function choose(page, ...files) {
  // The old answer is gone before the new one is waited for.
  await page.evaluate(() => delete document.body.dataset.state);
  // Paths and bytes do not go together.
  await page.setInputFiles("#files", files.map((file) => (typeof file === "string" ? picked(basename(file), readFileSync(file)) : file)));
}

export async function isGood(page) {
  await state(page, "done");
  assert.equal(await verdict(page), "good", (await faults(page)).join(" "));
}

/** Runs all, whatever fails; what failed is the exit code. */
export class Checks {
  all = [];
  check = (name, act) => this.all.push({ name, act });

  run = async (browser) => {
    for (const { name, act } of this.all) {
      try {
        await act();
        console.log(`ok   ${name}`);
      } catch (cause) {
        process.exitCode = 1;
        console.log(`FAIL ${name}\n${cause.stack}`);
      }
    }
    await browser.close();
  };
}
