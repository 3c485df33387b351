// SPDX-License-Identifier: EUPL-1.2
// What retention removed from the lists: how many entries, and from before when.
import { RETENTION_MS } from "../core/lists";
import type { Report } from "../core/report";
import type { Words } from "./words";

/** What a cut takes is older than its retention when it is cut, and so at the state root. */
export function removed(words: Words, report: Report): string | null {
  const count = report.lists.reduce((sum, list) => sum + list.deleted, 0);
  if (count === 0) return null;
  const before = report.asOf === undefined ? undefined : words.date(report.asOf.time - RETENTION_MS);
  return words.t.hidden.deleted(words.number(count), before);
}
