/**
 * The floor of the exchange (design.md §6): a bare Fastify handler that does one signature check, one query and one
 * signature, and nothing else. Its database is the one in `DATABASE_URL`, else an embedded one in memory.
 *
 * Says `listening on <url>` once it does; ends when its standard input does.
 */
import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import { PGlite } from '@electric-sql/pglite';
import Fastify from 'fastify';
import pg from 'pg';

const url = process.env.DATABASE_URL;
const pool = url === undefined ? null : new pg.Pool({ connectionString: url, max: 10 });
const embedded = url === undefined ? new PGlite() : null;
const statement = 'SELECT id, value FROM bench_floor WHERE id = $1';
const make = `CREATE TABLE IF NOT EXISTS bench_floor (id text PRIMARY KEY, value text NOT NULL);
  INSERT INTO bench_floor SELECT 'row-' || n, 'value-' || n FROM generate_series(1, 1000) n ON CONFLICT DO NOTHING`;
await (pool === null ? embedded?.exec(make) : pool.query(make));

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
const keys = new Map<string, ReturnType<typeof createPublicKey>>();

/** The key in the proof, imported once. */
function keyOf(jwk: Record<string, string>) {
  const known = keys.get(jwk.x ?? '') ?? createPublicKey({ key: jwk, format: 'jwk' });
  keys.set(jwk.x ?? '', known);
  return known;
}

function checkProof(proof: string): boolean {
  const [head = '', body = '', tail = ''] = proof.split('.');
  const key = keyOf(decode(head).jwk as Record<string, string>);
  const signed = Buffer.from(`${head}.${body}`);
  return verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(tail, 'base64url'));
}

function issue(sub: string): string {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: 'floor', aud: 'floor', sub, jti: randomUUID(), iat, exp: iat + 300 };
  const signed = `${encode({ alg: 'ES256', typ: 'at+jwt' })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

const app = Fastify({ logger: false });
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
  done(null, new URLSearchParams(String(body))),
);
app.post('/oauth/token', async (request, reply) => {
  if (!checkProof(String(request.headers.dpop))) return reply.code(400).send({ error: 'invalid_dpop_proof' });
  const id = `row-${1 + Math.floor(Math.random() * 1000)}`;
  const found = await (pool === null ? embedded?.query(statement, [id]) : pool.query(statement, [id]));
  const [row] = (found?.rows ?? []) as { value: string }[];
  return { access_token: issue(row?.value ?? ''), token_type: 'DPoP', expires_in: 300 };
});
process.stdout.write(`listening on ${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
process.stdin.resume().on('end', () => process.exit(0));
