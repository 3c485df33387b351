// SPDX-License-Identifier: EUPL-1.2
// Accesses as a person counts them: one exchange between two institutions, whichever of them logged it.
import type { Content } from "../core/body";
import type { Report, ShownEntry } from "../core/report";

export interface Exchange {
  /** The entry that is told: the consumer's, or the provider's where it is alone. */
  main: ShownEntry;
  /** Undefined where the body was erased. */
  access: Content<"access"> | undefined;
  /** All entries of it, in the order of the ledger. */
  entries: ShownEntry[];
  findings: number;
  /** Notes about any of its entries. */
  notes: ShownEntry[];
}

let last: { report: Report; exchanges: Exchange[] } | undefined;

/** Newest first. */
export function exchanges(report: Report): Exchange[] {
  if (last?.report === report) return last.exchanges;
  const byName = new Map<string, ShownEntry[]>();
  const notes = new Map<number, ShownEntry[]>();
  for (const entry of report.entries) {
    if (entry.body?.type === "note" && entry.body.refersTo !== undefined) {
      const about = entry.body.refersTo.index;
      notes.set(about, [...(notes.get(about) ?? []), entry]);
    }
    // A record explains another entry, unless a release made it part of the list.
    if (entry.type !== "access" || (entry.lists.length === 0 && entry.releasedBy === undefined)) continue;
    const access = accessOf(entry);
    const name = access === undefined ? `erased ${entry.index}` : `${access.exchange} ${access.consumer.institution} ${access.provider.institution}`;
    const known = byName.get(name);
    if (known === undefined) byName.set(name, [entry]);
    else known.push(entry);
  }
  const made = [...byName.values()].map((entries): Exchange => {
    const main = entries.find((entry) => accessOf(entry)?.side === "consumer") ?? entries[0]!;
    const findings = entries.reduce((all, entry) => all | entry.findings, 0) >>> 0;
    return { main, access: accessOf(main), entries, findings, notes: entries.flatMap((entry) => notes.get(entry.index) ?? []) };
  });
  made.sort((a, b) => timeOf(b) - timeOf(a) || b.main.index - a.main.index);
  last = { report, exchanges: made };
  return made;
}

export function accessOf(entry: ShownEntry): Content<"access"> | undefined {
  return entry.body?.type === "access" ? entry.body.content : undefined;
}

/** When it happened, as its signer says; when it was logged, where that was erased. */
export function timeOf({ main }: Exchange): number {
  return main.body?.occurredAt ?? main.acceptedAt;
}
