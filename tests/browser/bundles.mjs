// SPDX-License-Identifier: EUPL-1.2
// What the browser's tests are given: pages, exports, policies, and tampered ones with what must be said of them.
import { readdirSync, readFileSync } from "node:fs";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { join } from "node:path";

/** Faults of which one at least must be told, by what was done to the export. */
const EXPECTED = {
  missing: ["list-missing", "list-absent", "member-missing", "erased-without-order", "list-order"],
  added: ["list-added", "list-order", "list-spare"],
  reordered: ["list-order"],
  "another's": ["list-foreign", "list-spare", "consent-foreign", "member-stranger", "entry-body"],
  changed: ["entry-leaf", "entry-disclosure", "entry-body", "list-head", "list-proof", "fact", "state-root", "erased-without-order", "policy-origin"],
  unproven: ["entry-key", "entry-institution"],
  malformed: ["fact"],
  policy: ["checkpoint-quorum"],
  signature: ["entry-signature", "entry-key"],
  "outside-membership": ["member-outside"],
  "old-root": ["state-root-old", "state-root", "list-proof"],
};

export class Bundles {
  constructor(folder) {
    this.folder = folder;
  }

  path(name) {
    return join(this.folder, name);
  }

  text(name) {
    return readFileSync(this.path(name), "utf8");
  }

  /** Tampered exports: file, and the faults of which one must be told. */
  lies() {
    const known = new Set(readdirSync(this.path("small/lies")));
    return this.text("small/lies.tsv")
      .trim()
      .split("\n")
      .map((line) => line.split("\t"))
      .map(([name, lie]) => {
        if (!known.has(`${name}.json`)) throw new Error(`no file for ${name}`);
        if (EXPECTED[lie] === undefined) throw new Error(`nothing is said of lies called ${lie}`);
        return { name, path: this.path(`small/lies/${name}.json`), faults: EXPECTED[lie] };
      });
  }
}

/** A file for the page's picker. */
export function picked(name, text) {
  return { name, mimeType: "application/octet-stream", buffer: Buffer.from(text) };
}

/** One file of a zip, by its central directory: with code that is not the page's. */
export function unzipped(zip, wanted) {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  let at = zip.readUInt32LE(end + 16);
  for (let n = zip.readUInt16LE(end + 10); n > 0; n--) {
    const [method, packed] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20)];
    const [title, extra, comment] = [28, 30, 32].map((place) => zip.readUInt16LE(at + place));
    if (zip.toString("utf8", at + 46, at + 46 + title) === wanted) {
      const local = zip.readUInt32LE(at + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const bytes = zip.subarray(start, start + packed);
      return (method === 8 ? inflateRawSync(bytes) : bytes).toString("utf8");
    }
    at += 46 + title + extra + comment;
  }
  throw new Error(`no ${wanted} in the zip`);
}

/** A zip of these files, deflated, sizes only in its central directory: as one that was streamed. */
export function zipOf(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, text] of Object.entries(files)) {
    const [bytes, title] = [Buffer.from(text), Buffer.from(name)];
    const packed = deflateRawSync(bytes);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(0x0808, 6);
    local.writeUInt16LE(8, 8);
    local.writeUInt16LE(title.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(0x0808, 8);
    entry.writeUInt16LE(8, 10);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(bytes.length, 24);
    entry.writeUInt16LE(title.length, 28);
    entry.writeUInt32LE(at, 42);
    parts.push(local, title, packed);
    directory.push(entry, title);
    at += 30 + title.length + packed.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(files).length, 8);
  end.writeUInt16LE(Object.keys(files).length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, central, end]);
}
