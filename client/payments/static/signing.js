// What this terminal signs, computed here from the fields that are shown, never from a digest that
// a server sent: canonical msgpack, the network's prefix, SHA-256, ES256. The key cannot be exported.

const encoder = new TextEncoder();

function head(out, length, fix, fixMax, wide) {
  if (length <= fixMax) out.push(fix | length);
  else if (wide.length === 3 && length < 256) out.push(wide[0], length);
  else if (length < 65536) out.push(wide.at(-2), length >> 8, length & 255);
  else throw new RangeError("too long");
}

function integer(out, value) {
  if (value < 0n || value >= 1n << 64n) throw new RangeError("not an unsigned 64-bit integer");
  const size = value < 128n ? 0 : value < 256n ? 1 : value < 65536n ? 2 : value < 1n << 32n ? 4 : 8;
  if (size) out.push({ 1: 0xcc, 2: 0xcd, 4: 0xce, 8: 0xcf }[size]);
  for (let at = Math.max(size, 1) - 1; at >= 0; at--) out.push(Number((value >> BigInt(8 * at)) & 255n));
}

function write(out, value) {
  if (typeof value === "bigint") integer(out, value);
  else if (typeof value === "string") {
    const bytes = encoder.encode(value);
    head(out, bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb]);
    out.push(...bytes);
  } else if (value instanceof Uint8Array) {
    head(out, value.length, 0, -1, [0xc4, 0xc5, 0xc6]);
    out.push(...value);
  } else if (Array.isArray(value)) {
    head(out, value.length, 0x90, 15, [0xdc, 0xdd]);
    for (const one of value) write(out, one);
  } else {
    const names = Object.keys(value).sort();
    head(out, names.length, 0x80, 15, [0xde, 0xdf]);
    for (const name of names) {
      write(out, name);
      write(out, value[name]);
    }
  }
}

export function encode(value) {
  const out = [];
  write(out, value);
  return Uint8Array.from(out);
}

export function hex(bytes) {
  return Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
}

export function unhex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new TypeError("not hex");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export async function orderHash(title, amt, cur) {
  return hex(await sha256(encode(["groat/order/1", { title, amt: BigInt(amt), cur }])));
}

export async function digest(chain, statement, terms) {
  const prefix = encode(["groat/ticket/1", chain.id, unhex(chain.genesis)]);
  const payload = encode(["payments", statement, terms]);
  const whole = new Uint8Array(prefix.length + payload.length);
  whole.set(prefix);
  whole.set(payload, prefix.length);
  return sha256(whole);
}

export async function sign(key, chain, statement, terms) {
  const message = await digest(chain, statement, terms);
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  return hex(new Uint8Array(await crypto.subtle.sign(algorithm, key.privateKey, message)));
}

export async function newKey() {
  return crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
}

export async function publicKey(key) {
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", key.publicKey));
  const compressed = new Uint8Array(33);
  compressed[0] = 2 + (raw[64] & 1);
  compressed.set(raw.slice(1, 33), 1);
  return hex(compressed);
}

// Six digits that headset and terminal both show, so that their holder sees that they mean each other.
export async function fingerprint(publicKeyHex, challenge) {
  const hash = await sha256(encode(["groat/pairing/1", publicKeyHex, challenge]));
  const number = new DataView(hash.buffer).getUint32(0) % 1000000;
  return String(number).padStart(6, "0");
}
