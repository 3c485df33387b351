// SPDX-License-Identifier: EUPL-1.2
// Runs the judgement beside the page, in a worker made of this very script, so that the page stays alive; and in the page where the browser
// lets no worker start.
import { Refused } from "./core/fault";
import { judge } from "./core/judge";
import type { Report } from "./core/report";

export interface Task {
  exportText: string;
  policyText: string;
  libraryOnly: boolean;
}

type Answer = { progress: number } | { report: Report } | { refused: string } | { failed: string };

/** What the worker does: one task, then the answer. */
export function serve(scope: { onmessage: ((event: MessageEvent<Task>) => void) | null; postMessage(answer: Answer): void }): void {
  scope.onmessage = ({ data }) => {
    const progress = (done: number) => scope.postMessage({ progress: done });
    judge(data.exportText, data.policyText, { libraryOnly: data.libraryOnly, progress }).then(
      (report) => scope.postMessage({ report }),
      (cause: unknown) => scope.postMessage(cause instanceof Refused ? { refused: cause.message } : { failed: String(cause) }),
    );
  };
}

export async function run(task: Task, script: string, progress: (done: number) => void): Promise<Report> {
  const worker = start(script);
  if (worker === null) return judge(task.exportText, task.policyText, { libraryOnly: task.libraryOnly, progress });
  try {
    return await ask(worker, task, progress);
  } catch (cause) {
    if (!(cause instanceof NoWorker)) throw cause;
    return judge(task.exportText, task.policyText, { libraryOnly: task.libraryOnly, progress });
  } finally {
    worker.terminate();
  }
}

class NoWorker extends Error {}

function start(script: string): Worker | null {
  try {
    return new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  } catch {
    return null;
  }
}

function ask(worker: Worker, task: Task, progress: (done: number) => void): Promise<Report> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if ("progress" in data) progress(data.progress);
      else if ("report" in data) resolve(data.report);
      else reject("refused" in data ? new Refused(data.refused) : new Error(data.failed));
    };
    worker.onerror = () => reject(new NoWorker());
    worker.postMessage(task);
  });
}
