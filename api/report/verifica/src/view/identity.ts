// SPDX-License-Identifier: EUPL-1.2
// Is this export about me? The code that is typed gives the pseudonym, or it does not.
import { base64Url, fromBase64Url } from "../core/bytes";
import { Refused } from "../core/fault";
import { refOfCode } from "../core/pseudonym";
import type { Report } from "../core/report";
import { el, section } from "./dom";
import type { Words } from "./words";

export function identity(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const { binding, oprfKeys } = report;
  if (binding === null) return section("identity", t.identity.heading, el("p", {}, t.identity.none));
  const kind = words.code("codeKind", binding.kind);
  const input = el("input", { id: "code", type: "text", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: 64 });
  const answer = el("p", { id: "code-answer", role: "status" });
  const form = el(
    "form",
    {},
    el("label", { for: "code" }, t.identity.label(kind)),
    el("div", { class: "row" }, input, el("button", { type: "submit" }, t.identity.check)),
    answer,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const say = (text: string, tone: string) => {
      answer.textContent = text;
      answer.className = tone;
    };
    if (input.value.trim() === "") return say(t.identity.empty, "");
    if (oprfKeys.length === 0) return say(t.identity.noKey, "wrong");
    const right = isCodeOf(input.value, report);
    say(right ? t.identity.right : t.identity.wrong, right ? "right" : "wrong");
  });
  return section("identity", t.identity.heading, el("p", {}, t.identity.text(kind)), form);
}

/** Under one of the ledger's keys: each epoch has its own. */
function isCodeOf(code: string, { binding, oprfKeys, about }: Report): boolean {
  return oprfKeys.some((key) => {
    try {
      return base64Url(refOfCode(code, binding!, fromBase64Url(key)!)) === about.ref;
    } catch (cause) {
      if (cause instanceof Refused) return false;
      throw cause;
    }
  });
}
