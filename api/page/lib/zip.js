// Several files become one zip, stored and not packed: pictures do not get smaller, and one upload is one file.
const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});
const UTF8_NAMES = 0x0800;
const STORED = 0;
const YEAR_1980 = 0x21; // the earliest date of the format: equal files make an equal zip

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Fields of a record: [bytes, value] each, little-endian. */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/** Give every file a name of its own: the second cat.png is called cat-2.png. */
export function unique(names) {
  const taken = new Set();
  return names.map((name) => {
    const [, stem, ending] = /^(.*?)(\.[^./]*)?$/s.exec(name);
    let chosen = name;
    for (let number = 2; taken.has(chosen.toLowerCase()); number++) chosen = `${stem}-${number}${ending || ""}`;
    taken.add(chosen.toLowerCase());
    return chosen;
  });
}

/** Make one zip of `entries`, each {name, blob}. */
export async function zip(entries) {
  const names = unique(entries.map((entry) => entry.name));
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [number, { blob }] of entries.entries()) {
    const name = new TextEncoder().encode(names[number]);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const common = [[2, 20], [2, UTF8_NAMES], [2, STORED], [2, 0], [2, YEAR_1980], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, name.length], [2, 0]];
    const head = record([[4, 0x04034b50], ...common]);
    directory.push(record([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), name);
    parts.push(head, name, blob); // and not its bytes: one file is in memory at a time
    offset += head.length + name.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record([[4, 0x06054b50], [2, 0], [2, 0], [2, entries.length], [2, entries.length], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
