// SPDX-License-Identifier: EUPL-1.2
// The page: opens what it carries, has it judged, and shows the answer. The same script is the worker that judges.
import { Refused } from "./core/fault";
import type { Report } from "./core/report";
import { run, serve } from "./runner";
import { embedded, take, type Source } from "./sources";
import { accesses } from "./view/accesses";
import { bullets, button, el, section } from "./view/dom";
import { identity } from "./view/identity";
import { consents, others } from "./view/other";
import { rights } from "./view/rights";
import { hidden, household, institutions, technical } from "./view/sections";
import { verdict } from "./view/verdict";
import { LANGUAGES, TEXTS, Words, type Language } from "./view/words";

class Page {
  private language: Language = navigator.language.toLowerCase().startsWith("it") || !navigator.language.toLowerCase().startsWith("en") ? "it" : "en";
  private readonly source: Source;
  private report: Report | undefined;
  private refused: string | undefined;
  private unread: string[] = [];
  private readonly main = document.getElementById("main")!;
  private readonly header = document.getElementById("header")!;
  private readonly footer = document.getElementById("footer")!;

  constructor(private readonly script: string) {
    this.source = embedded(document, "");
    window.addEventListener("beforeprint", () => this.main.querySelectorAll("section").forEach((part) => part.dispatchEvent(new Event("visto-print"))));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer !== null) void this.open([...event.dataTransfer.files]);
    });
  }

  async verify(libraryOnly = false): Promise<void> {
    const { source } = this;
    this.report = undefined;
    this.refused = undefined;
    if (source.export === undefined || source.policy === undefined) return this.render();
    this.renderHeader();
    const { t } = this.words();
    const status = el("p", { id: "working", role: "status", class: "working" }, t.working);
    this.main.replaceChildren(status);
    const task = { exportText: source.export.text, policyText: source.policy.text, libraryOnly };
    try {
      this.report = await run(task, this.script, (done) => (status.textContent = t.workingAt(Math.round(done * 100))));
    } catch (cause) {
      // Whatever went wrong, nothing was verified.
      this.refused = cause instanceof Refused ? cause.message : String(cause);
    }
    this.render();
    document.getElementById("verdict-h")?.focus({ preventScroll: true });
  }

  private async open(files: File[]): Promise<void> {
    this.unread = await take(files, this.source);
    await this.verify();
  }

  private words(): Words {
    return new Words(this.language, this.source.codes, this.report);
  }

  private render(): void {
    const words = this.words();
    this.renderHeader();
    this.main.replaceChildren(...this.content(words).filter((part) => part !== null));
    this.footer.replaceChildren(el("p", {}, words.t.technical.source));
    document.body.dataset["state"] = this.report === undefined ? (this.refused === undefined ? "empty" : "refused") : "done";
  }

  private content(words: Words): (HTMLElement | null)[] {
    const { report, source } = this;
    const { t } = words;
    if (report === undefined) {
      const bad = this.refused !== undefined;
      const text = bad ? t.failed : source.export === undefined ? t.nothing : t.noPolicy;
      const box = el(
        "div",
        { class: bad ? "verdict bad" : "verdict", id: "verdict", "data-verdict": bad ? "bad" : "none" },
        bad ? el("p", { class: "mark", "aria-hidden": "true" }, "✗") : null,
        el("h2", { id: "verdict-h", tabindex: -1 }, text.heading),
        el("p", {}, text.text),
        bad ? el("p", { class: "small" }, `${t.faultDetail}: ${this.refused}`) : null,
      );
      return [el("section", { "aria-label": t.verdict.heading }, box), this.files(words)];
    }
    const parts = [
      identity(words, report),
      household(words, report),
      accesses(words, report),
      consents(words, report),
      others(words, report),
      hidden(words, report),
      rights(words, report),
      institutions(words, report),
      technical(words, report, () => void this.verify(true)),
      this.files(words),
    ];
    return [verdict(words, report, source.policy!.own), contents(words, parts), ...parts];
  }

  private files(words: Words): HTMLElement {
    const { t } = words;
    const input = el("input", { id: "files", type: "file", multiple: true, accept: ".zip,.json,.txt,application/zip,application/json,text/plain" });
    input.addEventListener("change", () => void this.open([...(input.files ?? [])]));
    const open = this.source.export;
    return section(
      "files-section",
      t.files.heading,
      el("p", {}, t.files.text),
      el("div", { class: "field" }, el("label", { for: "files" }, t.files.label), input),
      open === undefined ? null : el("p", { class: "small" }, t.files.loaded(open.name === "" ? t.files.embedded : open.name)),
      this.unread.length === 0 ? null : el("div", { role: "alert" }, bullets(this.unread.map((name) => t.files.notRead(name)))),
    );
  }

  private renderHeader(): void {
    const { t } = this.words();
    document.documentElement.lang = t.lang;
    document.title = `${t.title} – ${t.product}`;
    document.querySelector(".skip")!.textContent = t.skip;
    const switches = LANGUAGES.map((language) => {
      const made = button(TEXTS[language].languageName, () => this.speak(language), { lang: language, id: `lang-${language}` });
      made.setAttribute("aria-pressed", String(language === this.language));
      return made;
    });
    this.header.replaceChildren(
      el("div", { class: "brand" }, el("p", { class: "product" }, el("strong", {}, t.product), ` · ${t.productLine}`), el("h1", {}, t.title)),
      el("div", { class: "tools" }, el("div", { role: "group", "aria-label": t.language, class: "languages" }, switches), button(t.print, () => window.print(), { class: "print" })),
    );
  }

  private speak(language: Language): void {
    this.language = language;
    this.render();
    document.getElementById(`lang-${language}`)?.focus();
  }
}

function contents(words: Words, parts: (HTMLElement | null)[]): HTMLElement {
  const links = parts.filter((part) => part !== null).map((part) => el("li", {}, el("a", { href: `#${part.id}` }, part.querySelector("h2")!.textContent)));
  return el("nav", { class: "contents", "aria-label": words.t.contents }, el("p", { class: "strong" }, words.t.contents), el("ul", {}, links));
}

if (typeof document === "undefined") {
  serve(globalThis as unknown as Parameters<typeof serve>[0]);
} else {
  const page = new Page(document.currentScript!.textContent!);
  void page.verify();
}
