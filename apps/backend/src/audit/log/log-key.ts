import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createId, type NoteVerifier, toVerifier } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import { openRow, sealAsRow } from '../../kms/sealed-secrets.ts';
import { findOrgKey, findOrgPublicKey, insertOrgKey, type OrgKeyRow } from '../../store/queries/secrets.ts';
import type { Store } from '../../store/store.ts';
import { appendServerEvent, type ServerEvent } from '../append-server-event.ts';

/** Signs the checkpoints of one organisation's log. */
export interface LogSigner {
  readonly verifier: NoteVerifier;
  /** Ed25519 over the text; 64 bytes. */
  sign(text: string): Buffer;
}

/** Keys of the logs, opened once per process. */
export interface LogKeys {
  /** The signer of an organisation; made, sealed and recorded when it has none. */
  signerOf(orgId: string): Promise<LogSigner>;
  /** Whose signatures count; null before the log has a key. */
  verifierOf(orgId: string): Promise<NoteVerifier | null>;
}

/** What the keys need. */
export interface LogKeysDeps {
  readonly store: Store;
  readonly kms: Kms;
  /** Host of the backend, the first part of every log's name. */
  readonly host: string;
  readonly nowMs: () => number;
}

/** Signers that are kept open, so that not every checkpoint asks the key service. */
const maxOpen = 1000;

/** Name of an organisation's log, and of its key (C2SP signed-note: no white space, no plus sign). */
export const logName = (host: string, orgId: string): string => `${host.replaceAll('+', '-')}/${orgId}`;

/** Makes the keys. */
export function createLogKeys({ store, kms, host, nowMs }: LogKeysDeps): LogKeys {
  const open = new Map<string, LogSigner>();
  const load = async (orgId: string): Promise<LogSigner> => {
    const scope = { role: 'system', orgId: null } as const;
    const stored = await store.transaction(scope, (tx) => findOrgKey(tx, orgId, 'log'));
    return openSigner(kms, logName(host, orgId), orgId, stored ?? (await makeKey(store, kms, orgId, nowMs)));
  };
  return {
    signerOf: async (orgId) => {
      const known = open.get(orgId);
      if (known !== undefined) return known;
      const signer = await load(orgId);
      if (open.size >= maxOpen) open.clear();
      open.set(orgId, signer);
      return signer;
    },
    verifierOf: async (orgId) => {
      const row = await store.transaction({ role: 'read', orgId }, (tx) =>
        findOrgPublicKey(tx, orgId, 'log'),
      );
      return row === null ? null : toVerifier(logName(host, orgId), rawKey(readPublic(row.publicJwk)));
    },
  };
}

/** Two replicas may make one at the same time: the first that is stored is the key. */
async function makeKey(store: Store, kms: Kms, orgId: string, nowMs: () => number): Promise<OrgKeyRow> {
  const now = new Date(nowMs());
  const made = await prepareLogKey(kms, orgId, now);
  return store.transaction({ role: 'system', orgId: null }, async (tx) => {
    // The admin stream's head is locked by this: whoever comes second sees the key of the first.
    await appendServerEvent(tx, { orgId, sessionId: null }, logKeyCreated(made, null), now);
    const stored = await findOrgKey(tx, orgId, 'log');
    if (stored !== null) return stored;
    await insertOrgKey(tx, orgId, 'log', made, now);
    return made;
  });
}

/** Makes a log's key, sealed, ready to be stored. Call it before the transaction: sealing may ask a key service. */
export async function prepareLogKey(kms: Kms, orgId: string, now: Date): Promise<OrgKeyRow> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const kid = createId('key', now.getTime());
  const plaintext = privateKey.export({ format: 'der', type: 'pkcs8' });
  const secret = await sealAsRow(kms, contextOf(orgId, kid), plaintext, now);
  plaintext.fill(0);
  return { kid, publicJwk: JSON.stringify(publicKey.export({ format: 'jwk' })), secret };
}

/**
 * What records a log's key.
 *
 * @param user Who made the organisation; null for a key that an older organisation got later.
 */
export const logKeyCreated = ({ kid, publicJwk }: OrgKeyRow, user: string | null): ServerEvent => ({
  ...{ kind: 'key.created', user },
  facts: { purpose: 'log', kid, publicJwk },
});

const contextOf = (orgId: string, kid: string) => ({
  ...{ purpose: 'log-key', orgId, subjectId: kid, version: 1 },
});

async function openSigner(kms: Kms, name: string, orgId: string, row: OrgKeyRow): Promise<LogSigner> {
  const plaintext = await openRow(kms, contextOf(orgId, row.kid), row.secret);
  const key = createPrivateKey({ key: plaintext, format: 'der', type: 'pkcs8' });
  plaintext.fill(0);
  if (key.asymmetricKeyType !== 'ed25519')
    throw new KontextError('KX_VAULT_OPEN', 'a log key is not an Ed25519 key');
  const verifier = toVerifier(name, rawKey(createPublicKey(key)));
  return { verifier, sign: (text) => sign(null, Buffer.from(text, 'utf8'), key) };
}

const readPublic = (jwk: string): KeyObject => createPublicKey({ key: JSON.parse(jwk), format: 'jwk' });

/** An Ed25519 key is the last 32 bytes of its SubjectPublicKeyInfo (RFC 8410 §4). */
const rawKey = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' }).subarray(-32);
