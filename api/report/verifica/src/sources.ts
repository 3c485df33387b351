// SPDX-License-Identifier: EUPL-1.2
// Where export, policy and code lists come from: this page itself, or files that the reader chooses.
import type { CodeList, Language } from "./view/words";
import { readZip } from "./zip";

export interface Source {
  export?: { text: string; name: string };
  policy?: { text: string; own: boolean };
  codes: Partial<Record<Language, CodeList>>;
}

/** What the page carries in its own blocks. */
export function embedded(document: Document, name: string): Source {
  const block = (id: string) => document.getElementById(id)?.textContent?.trim() ?? "";
  const parsed = <T>(id: string): T | undefined => {
    const text = block(id);
    return text === "" ? undefined : (JSON.parse(text) as T);
  };
  const text = block("visto-export");
  const policy = parsed<string>("visto-policy");
  return {
    export: text === "" ? undefined : { text, name },
    policy: policy === undefined || policy === "" ? undefined : { text: policy, own: true },
    codes: { it: parsed<CodeList>("visto-codes-it"), en: parsed<CodeList>("visto-codes-en") },
  };
}

/** Takes what is in the files chosen; answers with those that are nothing of ours. A policy from elsewhere is kept before a bundle's own. */
export async function take(files: Iterable<File>, source: Source): Promise<string[]> {
  const unknown: string[] = [];
  let chosenPolicy: string | undefined;
  let bundledPolicy: string | undefined;
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const zipped = readZip(bytes);
    if (zipped !== null) {
      const named = (name: string) => zipped.find((entry) => entry.name.split("/").at(-1) === name)?.text();
      const text = await named("export.json");
      if (text === undefined) unknown.push(file.name);
      else source.export = { text, name: file.name };
      bundledPolicy = await named("policy.txt");
      continue;
    }
    const text = new TextDecoder().decode(bytes);
    if (/^\s*\{/.test(text)) source.export = { text, name: file.name };
    else if (/^(log|witness|quorum)[ \t]/m.test(text)) chosenPolicy = text;
    else unknown.push(file.name);
  }
  if (chosenPolicy !== undefined) source.policy = { text: chosenPolicy, own: false };
  else if (bundledPolicy !== undefined && source.policy?.own !== false) source.policy = { text: bundledPolicy, own: true };
  return unknown;
}
