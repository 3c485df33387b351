// SPDX-License-Identifier: EUPL-1.2
// Elements, made one way. Text goes in as text: nothing of a bundle is ever read as HTML.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(name: K, attributes: Attributes = {}, ...children: (Child | Child[])[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(attribute, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/** A section of the page under a heading that names it. */
export function section(id: string, heading: string, ...children: (Child | Child[])[]): HTMLElement {
  return el("section", { id, "aria-labelledby": `${id}-h` }, el("h2", { id: `${id}-h`, tabindex: -1 }, heading), ...children);
}

/** Terms and what is said of them; rows without a word are left out. */
export function terms(rows: [string, Child | Child[]][]): HTMLElement {
  const said = rows.filter(([, what]) => what !== null && what !== undefined && what !== false && !(Array.isArray(what) && what.length === 0));
  return el(
    "dl",
    {},
    said.map(([term, what]) => el("div", {}, el("dt", {}, term), el("dd", {}, what))),
  );
}

export function bullets(lines: (Child | Child[])[]): HTMLElement {
  return el(
    "ul",
    {},
    lines.map((line) => el("li", {}, line)),
  );
}

export function button(label: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const made = el("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", act);
  return made;
}

/** Details whose body is made when they are opened for the first time: long lists cost nothing unread. */
export function lazyDetails(summary: (Child | Child[])[], body: () => Child[], attributes: Attributes = {}): HTMLDetailsElement {
  const details = el("details", attributes, el("summary", {}, ...summary));
  let made = false;
  const make = () => {
    if (made || !details.open) return;
    made = true;
    details.append(...body().filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  };
  details.addEventListener("toggle", make);
  makers.set(details, make);
  return details;
}

const makers = new WeakMap<HTMLDetailsElement, () => void>();

/** Opens details at once, body and all: `toggle` comes only after the next frame, which is too late for a printer. */
export function openNow(details: HTMLDetailsElement): void {
  details.open = true;
  makers.get(details)?.();
}
