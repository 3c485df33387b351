// SPDX-License-Identifier: EUPL-1.2
// The citizen's page in a real Chromium, from file://, without a network: good bundles turn green, tampered ones red with the right words,
// in both languages, by keyboard, without findings of axe. Started by tests/tests/it/verifica.rs, which makes the bundles.
// Usage: VISTO_BROWSER=PACKAGES node verifica.mjs FOLDER CHROMIUM
import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";

import { Bundles, picked, zipOf } from "./bundles.mjs";
import { AxeBuilder, Checks, choose, faults, isGood, start, state, verdict } from "./page.mjs";

const [, , folder, chromium] = process.argv;
const bundles = new Bundles(folder);
const browser = await start(chromium);
const open = (file, options) => browser.open(bundles.path(file), options);
const { check, run } = new Checks();

for (const [file, count] of [["one.html", 1], ["thousand.html", 1000], ["ten-thousand.html", 10_000]]) {
  check(`a good bundle of ${count} accesses is complete`, async () => {
    const { page, started, close } = await open(file);
    await isGood(page);
    const seconds = (performance.now() - started) / 1000;
    const lines = await page.locator("#accesses .entries > li").count();
    assert.ok(lines >= Math.min(100, count) && lines <= 100, `${lines} lines`);
    const text = await page.locator("#verdict").innerText();
    assert.match(text, /Completo alla dimensione [\d.]+, al tempo \d{1,2} \p{L}+ 20\d\d/u);
    assert.match(text, /Un accesso che nessuno ha registrato qui non può comparire/);
    // A figure, not a judgement: whoever shares the machine decides over it.
    const [, judged] = /in ([\d,]+) secondi/.exec(text);
    console.log(`    ${count} accesses: verified and shown ${seconds.toFixed(1)} s after the page was opened; judged in ${judged} s of these`);
    await close();
  });
}

check("ten thousand accesses stay usable: filtered, searched, more shown", async () => {
  const { page, close } = await open("ten-thousand.html");
  await isGood(page);
  const list = page.locator("#accesses .entries > li");
  await page.getByRole("button", { name: "Mostra altri 100" }).click();
  assert.equal(await list.count(), 200);
  assert.ok(await list.nth(100).locator("summary").evaluate((summary) => summary === document.activeElement));
  await page.getByLabel("Mostra", { exact: true }).selectOption("findings");
  const flagged = await list.count();
  assert.ok(flagged > 0 && flagged <= 100);
  assert.equal(await list.locator(".badge.warn").count() >= flagged, true);
  await page.getByLabel("Cerca nel testo").fill("no such words anywhere");
  assert.equal(await list.count(), 0);
  await close();
});

check("a household, and somebody of whom nothing is known", async () => {
  for (const [file, words] of [["household.html", /componenti qui aperti/], ["nobody.html", /nessuna registrazione su questa persona, ed è provato/]]) {
    const { page, close } = await open(file);
    await isGood(page);
    assert.match(await page.locator("#verdict").innerText(), words);
    await close();
  }
});

check("what retention removed from the list", async () => {
  const { page, close } = await open("cut.html");
  await isGood(page);
  const removed = /registrazioni più vecchie sono state rimosse perché è finito il tempo di conservazione; sono tutte anteriori al \d/;
  assert.match(await page.locator("#hidden").innerText(), removed);
  await close();
});

check("what an access says, in plain words", async () => {
  const { page, close } = await open("small.html");
  await isGood(page);
  const line = page.locator("#accesses details.entry").filter({ hasText: "Registrato da una parte sola" }).first();
  await line.locator("summary").click();
  // It is made when it is opened, a frame later.
  await line.getByText("Ruolo di chi ha agito").waitFor();
  const text = await line.innerText();
  for (const term of ["Chi", "Ruolo di chi ha agito", "Operatore", "Da chi provengono i dati", "Quando", "Quali dati", "Perché", "Finalità", "Base giuridica", "Consenso", "Rilievi del registro", "Che cosa dice l'altra parte", "Prova"]) {
    assert.ok(text.includes(term), `${term} is missing in ${text}`);
  }
  assert.ok(!text.includes("dpv"), "a code that nobody explained");
  const rights = await page.locator("#rights h3").allInnerTexts();
  assert.deepEqual(rights.map((title) => title.slice(0, 2)), ["a)", "b)", "c)", "d)", "e)", "f)", "g)", "h)"]);
  assert.match(await page.locator("#institutions").innerText(), /non sono coperti da questo estratto/);
  await close();
});

check("every tampered export turns red, with the right words", async () => {
  const { page, close } = await open("empty.html");
  await state(page, "empty");
  const lies = bundles.lies();
  assert.ok(lies.length >= 50, `${lies.length} lies`);
  for (const lie of lies) {
    await choose(page, lie.path, bundles.path("small/policy.txt"));
    await state(page, "done");
    assert.equal(await verdict(page), "bad", lie.name);
    const told = await faults(page);
    assert.ok(told.some((fault) => lie.faults.includes(fault)), `${lie.name}: told ${told.join(" ")}, wanted one of ${lie.faults.join(" ")}`);
    assert.match(await page.locator("#verdict").innerText(), /Attenzione: la verifica non è riuscita/);
  }
  await choose(page, bundles.path("small/person.json"), bundles.path("small/policy.txt"));
  await isGood(page);
  console.log(`    ${lies.length} tampered exports`);
  await close();
});

check("a page changed in one place, and files that are no exports, turn red", async () => {
  const { page, close } = await open("tampered.html");
  await state(page, "done");
  assert.equal(await verdict(page), "bad");
  assert.ok((await faults(page)).includes("entry-leaf"));
  const policy = bundles.path("small/policy.txt");
  const good = bundles.text("small/person.json");
  for (const text of ["{}", good.slice(0, -2), good.replace('"export":1', '"export":2')]) {
    await choose(page, picked("export.json", text), policy);
    await state(page, "refused");
    assert.equal(await verdict(page), "bad");
  }
  await choose(page, picked("notes.txt", "hello"));
  await page.getByText("notes.txt: non è un estratto").waitFor();
  await close();
});

check("a letter changed, lost or slipped in anywhere turns red", async () => {
  const { page, close } = await open("empty.html");
  const [good, policy] = [bundles.text("small/household.json"), bundles.path("small/policy.txt")];
  // The same places in every run, all over the file.
  let seed = 20261125;
  const next = (below) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
  for (let n = 0; n < 24; n++) {
    const at = next(good.length);
    const letter = good[at] === "A" ? "B" : "A";
    const damaged = good.slice(0, at) + ["", letter, letter + good[at]][n % 3] + good.slice(at + 1);
    await choose(page, picked("export.json", damaged), policy);
    await page.waitForSelector("body[data-state]", { state: "attached", timeout: 240_000 });
    assert.equal(await verdict(page), "bad", `at ${at}: ${good.slice(at - 20, at + 20)}`);
  }
  await close();
});

check("the wrong policy, a forged note and a forged cosignature are told", async () => {
  const { page, close } = await open("empty.html");
  const [good, policy] = [bundles.text("small/person.json"), bundles.text("small/policy.txt")];
  const { checkpoint } = JSON.parse(good);
  const forged = (change) => picked("export.json", JSON.stringify({ ...JSON.parse(good), checkpoint: change(checkpoint) }));
  const cases = [
    [picked("export.json", good), picked("policy.txt", bundles.text("other-policy.txt")), ["checkpoint-signature", "checkpoint"]],
    [picked("export.json", good), picked("policy.txt", policy.replace(/genesis [0-9a-f]{8}/, "genesis 00000000")), ["genesis"]],
    [picked("export.json", good), picked("policy.txt", policy.replace("quorum nodes", "quorum everybody")), ["policy"]],
    [forged((note) => note.replace(/\n(\d+)\n/, (_, size) => `\n${Number(size) + 1}\n`)), picked("policy.txt", policy), ["checkpoint-signature"]],
    [forged((note) => note.split("\n").filter((line) => !line.includes("/node/")).join("\n")), picked("policy.txt", policy), ["checkpoint-quorum"]],
    [forged((note) => note.replace(/(\/node\/1 \S{20})(.)/, (_, head, letter) => head + (letter === "A" ? "B" : "A"))), picked("policy.txt", policy), ["checkpoint-signature"]],
  ];
  for (const [file, trusted, wanted] of cases) {
    await choose(page, file, trusted);
    await state(page, "done");
    assert.equal(await verdict(page), "bad", wanted.join(" "));
    const told = await faults(page);
    assert.ok(wanted.some((fault) => told.includes(fault)), `told ${told.join(" ")}, wanted one of ${wanted.join(" ")}`);
  }
  await close();
});

check("a whole zip, and a policy from elsewhere", async () => {
  const { page, close } = await open("empty.html");
  const files = { "LEGGIMI.txt": "…", "export.json": bundles.text("small/person.json"), "policy.txt": bundles.text("small/policy.txt") };
  await choose(page, picked("visto-export.zip", zipOf(files)));
  await isGood(page);
  assert.match(await page.locator(".trust").innerText(), /contenuta in questo stesso file/);
  assert.match(await page.locator(".trust").innerText(), /Impronta della policy \(SHA-256\): ([0-9a-f]{4} ){15}[0-9a-f]{4}/);
  await choose(page, bundles.path("small/policy.txt"));
  await isGood(page);
  assert.match(await page.locator(".trust").innerText(), /quella che hai caricato tu/);
  await choose(page, picked("visto-export.zip", zipOf(files)));
  await isGood(page);
  assert.match(await page.locator(".trust").innerText(), /quella che hai caricato tu/, "the bundle's own policy must not take its place");
  await close();
});

check("without the browser's Ed25519 and without workers the library verifies", async () => {
  const before = () => {
    const { importKey } = SubtleCrypto.prototype;
    SubtleCrypto.prototype.importKey = function (format, data, algorithm, ...rest) {
      if (algorithm === "Ed25519") return Promise.reject(new DOMException("not here", "NotSupportedError"));
      return importKey.call(this, format, data, algorithm, ...rest);
    };
    delete globalThis.Worker;
  };
  const { page, close } = await open("small.html", { before });
  await isGood(page);
  assert.match(await page.locator("#verdict").innerText(), /con la libreria contenuta nella pagina/);
  await choose(page, bundles.path("small/lies/a-finding-forgotten.json"));
  await state(page, "done");
  assert.equal(await verdict(page), "bad");
  await close();
});

check("one signature that does not hold is told, though all hashes agree", async () => {
  const before = () => {
    // Without a worker the page itself computes, where the answer of one call can be turned.
    delete globalThis.Worker;
    const { verify } = SubtleCrypto.prototype;
    let calls = 0;
    SubtleCrypto.prototype.verify = async function (...all) {
      const held = await verify.apply(this, all);
      return ++calls === 20 ? !held : held;
    };
  };
  const { page, close } = await open("small.html", { before });
  await state(page, "done");
  assert.equal(await verdict(page), "bad");
  assert.deepEqual(await faults(page), ["entry-signature"]);
  assert.equal(await page.locator(".entry.faulty").count(), 1);
  await close();
});

check("verified again with the library alone, in a worker", async () => {
  const { page, close } = await open("small.html");
  await isGood(page);
  assert.match(await page.locator("#verdict").innerText(), /con la crittografia del browser/);
  await page.evaluate(() => delete document.body.dataset.state);
  await page.locator("#again").click();
  await isGood(page);
  assert.match(await page.locator("#verdict").innerText(), /con la libreria contenuta nella pagina/);
  await close();
});

check("axe finds nothing, in both languages, green and red, light and dark, wide and narrow", async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];
  for (const [file, locale, options] of [
    ["household.html", "it-IT", {}],
    ["household.html", "en-GB", { colorScheme: "dark" }],
    ["tampered.html", "it-IT", { colorScheme: "dark", viewport: { width: 390, height: 844 } }],
    ["tampered.html", "en-GB", {}],
    ["empty.html", "it-IT", { viewport: { width: 320, height: 640 } }],
  ]) {
    const { page, close } = await open(file, { locale, ...options });
    await state(page, file === "empty.html" ? "empty" : "done");
    assert.equal(await page.locator("html").getAttribute("lang"), locale.slice(0, 2));
    // What stands behind the lines is looked at too.
    for (const summary of await page.locator("details.entry summary").all()) await summary.click();
    const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze();
    const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
    assert.deepEqual(told, [], `${file} ${locale}`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(overflow <= 0, `${file} is ${overflow} pixels too wide`);
    await close();
  }
});

check("everything is reached by keyboard, in order, and nothing holds it", async () => {
  const { page, close } = await open("small.html");
  await isGood(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), "verdict-h", "the answer has the focus once it is there");
  await page.locator(".skip").focus();
  const met = [];
  for (let n = 0; n < 400; n++) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const { activeElement: element } = document;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { name: element.tagName + (element.id === "" ? "" : `#${element.id}`), text: element.textContent.slice(0, 40), seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
    if (here.name === "BODY") break;
    met.push(here);
  }
  const names = met.map((one) => one.name);
  for (const wanted of ["BUTTON#lang-it", "BUTTON#lang-en", "SELECT#f-institution", "SELECT#f-only", "INPUT#f-text", "BUTTON#again", "INPUT#files"]) {
    assert.ok(names.includes(wanted), `${wanted} is not reached: ${names.join(" ")}`);
  }
  assert.ok(names.indexOf("SELECT#f-institution") < names.indexOf("SUMMARY") && names.indexOf("SUMMARY") < names.indexOf("BUTTON#again"));
  assert.deepEqual(met.filter((one) => !one.seen).map((one) => one.name), [], "focus that cannot be seen");
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const first = page.locator("#accesses details.entry").first();
  await first.locator("summary").focus();
  await page.keyboard.press("Enter");
  await first.locator("dl").waitFor();
  await page.locator("#lang-en").focus();
  await page.keyboard.press("Space");
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  assert.equal(await page.evaluate(() => document.activeElement.id), "lang-en");
  assert.match(await page.locator("#verdict").innerText(), /Complete as of size/);
  await close();
});

check("printed, it holds everything", async () => {
  const { page, close } = await open("thousand.html");
  await isGood(page);
  await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
  const list = page.locator("#accesses .entries > li");
  assert.ok((await list.count()) >= 1000);
  assert.equal(await list.locator("details[open] dl").count(), await list.count());
  await close();
});

await run(browser);
