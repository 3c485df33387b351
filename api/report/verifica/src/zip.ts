// SPDX-License-Identifier: EUPL-1.2
// Reads a zip: the files named in its central directory, stored or deflated. No encryption, no parts, nothing over 4 GiB.

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const FILE_BYTES_MAX = 2 ** 30;

export interface ZippedFile {
  name: string;
  text(): Promise<string>;
}

/** Null where the bytes are no zip. */
export function readZip(bytes: Uint8Array<ArrayBuffer>): ZippedFile[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = endOf(view);
  if (end === null) return null;
  const files: ZippedFile[] = [];
  let at = view.getUint32(end + 16, true);
  for (let n = view.getUint16(end + 10, true); n > 0; n--) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== ENTRY) return null;
    const [method, packed, size] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [nameLength, extra, comment] = [view.getUint16(at + 28, true), view.getUint16(at + 30, true), view.getUint16(at + 32, true)];
    const local = view.getUint32(at + 42, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if (local + 30 > bytes.length) return null;
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    files.push({ name, text: () => unpack(bytes.subarray(start, start + packed), method, size) });
    at += 46 + nameLength + extra + comment;
  }
  return files;
}

/** The end record stands last, before a comment of at most 65 535 bytes. */
function endOf(view: DataView): number | null {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at--) {
    if (view.getUint32(at, true) === END) return at;
  }
  return null;
}

async function unpack(packed: Uint8Array<ArrayBuffer>, method: number, size: number): Promise<string> {
  if (size > FILE_BYTES_MAX) throw new RangeError("too large");
  if (method === 0) return new TextDecoder().decode(packed);
  if (method !== 8) throw new RangeError("a method of compression that is not spoken");
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();
}
