// SPDX-License-Identifier: EUPL-1.2
// The bundle that real nodes hand out: a double click on its page verifies it; the whole zip does too, under the founders' own policy; one
// changed byte does not. Started by tests/tests/it/verifica.rs.
// Usage: VISTO_BROWSER=PACKAGES node bundle.mjs BUNDLE.zip POLICY CODE OTHER-CODE CHROMIUM
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";

import { picked, unzipped } from "./bundles.mjs";
import { AxeBuilder, Checks, choose, faults, isGood, start, state, verdict } from "./page.mjs";

const [, , file, policy, code, otherCode, chromium] = process.argv;
const zip = readFileSync(file);
const page = unzipped(zip, "verifica.html");
const at = (name, text) => {
  writeFileSync(`${file}.${name}`, text);
  return `${file}.${name}`;
};
const browser = await start(chromium);
const { check, run } = new Checks();

check("a double click turns green and tells the access, both sides and the consent", async () => {
  const { page: shown, close } = await browser.open(at("html", page));
  await isGood(shown);
  assert.match(await shown.locator("#verdict").innerText(), /1 accesso ai dati, da parte di 1 ente/);
  const line = shown.locator("#accesses details.entry").first();
  await line.locator("summary").click();
  // It is made when it is opened, a frame later.
  await line.getByText("Il nome non è rivelato").waitFor();
  const text = await line.innerText();
  for (const words of ["Comune di Voghera", "INPS", "Confermato da entrambe le parti", "Prestazioni sociali", "Reddito", "Verifica ISEE per la retta", "Il nome non è rivelato"]) {
    assert.ok(text.includes(words), `${words} is missing in ${text}`);
  }
  const consents = await shown.locator("#consents").innerText();
  assert.match(consents, /Consenso dato, raccolto da ASL Pavia/);
  const institutions = await shown.locator("#institutions").innerText();
  assert.match(institutions, /Partecipano al registro/);
  assert.ok(!institutions.includes("non provat"), institutions);
  const { violations } = await new AxeBuilder({ page: shown }).analyze();
  assert.deepEqual(violations.map(({ id }) => id), []);
  await close();
});

check("the code that is typed is the export's, and another is not", async () => {
  const { page: shown, close } = await browser.open(at("html", page));
  await isGood(shown);
  const answer = shown.locator("#code-answer");
  for (const [typed, said] of [["", /^Scrivi prima/], [otherCode, /^No: questo estratto non è del codice/], [` ${code.toLowerCase()} `, /^Sì: lo pseudonimo di questo estratto/]]) {
    await shown.getByLabel("Il codice fiscale").fill(typed);
    await shown.getByRole("button", { name: "Controlla" }).click();
    assert.match(await answer.innerText(), said);
  }
  await close();
});

check("the whole zip holds under the founders' policy, and not with one byte changed", async () => {
  const { page: shown, close } = await browser.open(at("html", page));
  await isGood(shown);
  await choose(shown, file, policy);
  await isGood(shown);
  assert.match(await shown.locator(".trust").innerText(), /quella che hai caricato tu/);
  const text = unzipped(zip, "export.json");
  const place = text.indexOf('"bodySalt":"', text.indexOf('"lists"')) + 14;
  const changed = text.slice(0, place) + (text[place] === "A" ? "B" : "A") + text.slice(place + 1);
  await choose(shown, picked("export.json", changed));
  await state(shown, "done");
  assert.equal(await verdict(shown), "bad");
  assert.ok((await faults(shown)).includes("entry-leaf"));
  await close();
});

await run(browser);
