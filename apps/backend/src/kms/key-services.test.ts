import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { KontextError } from '@kontext/errors';
import { encodeAad, open, seal } from '@kontext/vault';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAwsKms } from './aws-kms.ts';
import { crc32c } from './crc32c.ts';
import { createGcpKms } from './gcp-kms.ts';
import type { KeyService } from './key-service.ts';
import { createKeyring } from './keyring.ts';
import { loadSdk } from './load-sdk.ts';
import { probeKey } from './probe-key.ts';
import {
  awsCredentials,
  type KeyServiceStandIn,
  startAwsStandIn,
  startGcpStandIn,
  startVaultStandIn,
  vaultToken,
} from './test-key-services.ts';
import { createVaultTransit } from './vault-transit.ts';

const arn = (n: number) => `arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-00000000000${n}`;
const resource = (n: number) => `projects/p/locations/global/keyRings/kontext/cryptoKeys/kek-${n}`;
/** Long enough for a loaded machine, short enough for a test that waits for it twice. */
const timeoutMs = 1_500;

let directory: string;
let standIn: KeyServiceStandIn;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-kms-'));
  writeFileSync(join(directory, 'token'), `${vaultToken}\n`);
  vi.stubEnv('AWS_ACCESS_KEY_ID', awsCredentials.id);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', awsCredentials.secret);
  vi.stubEnv('AWS_CONFIG_FILE', join(directory, 'none'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(directory, 'none'));
  vi.stubEnv('CLOUDSDK_CONFIG', directory);
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', undefined);
  vi.stubEnv('METADATA_SERVER_DETECTION', 'assume-present');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await standIn.close();
  rmSync(directory, { recursive: true, force: true });
});

const vaultOptions = (url: string) => ({
  ...{ address: url, tokenFile: join(directory, 'token'), namespace: null, timeoutMs },
});

const services = [
  {
    name: 'AWS KMS',
    ids: [`aws:${arn(1)}`, `aws:${arn(2)}`],
    start: () => startAwsStandIn([arn(1), arn(2)]),
    create: (url: string) => createAwsKms({ endpoint: url, timeoutMs }),
    /** Makes the service refuse the backend itself. */
    lockOut: () => vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'another'),
  },
  {
    name: 'Google Cloud KMS',
    ids: [`gcp:${resource(1)}`, `gcp:${resource(2)}`],
    start: async () => {
      const started = await startGcpStandIn([resource(1), resource(2)]);
      vi.stubEnv('GCE_METADATA_HOST', started.url.slice('http://'.length));
      return started;
    },
    create: (url: string) => createGcpKms({ endpoint: url, timeoutMs }),
    lockOut: () => standIn.faults.push(403),
  },
  {
    name: 'Vault transit',
    ids: ['vault:transit/one', 'vault:transit/two'],
    start: () => startVaultStandIn(['one', 'two']),
    create: async (url: string) => createVaultTransit(vaultOptions(url)),
    lockOut: () => writeFileSync(join(directory, 'token'), 'hvs.expired'),
  },
] as const;

const refusal = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'done',
    (error: unknown) => (error instanceof KontextError ? error.code : `${String(error)}`),
  );
const aad = encodeAad(['1', 'connection', 'org_a', 'con_a', '1', 'kek']);
const otherAad = encodeAad(['1', 'connection', 'org_b', 'con_a', '1', 'kek']);

describe.each(services)('$name', ({ ids, start, create, lockOut }) => {
  const [id, otherId] = ids;
  let service: KeyService;
  beforeEach(async () => {
    standIn = await start();
    service = await create(standIn.url);
  });
  const keyring = () => createKeyring({ remote: new Map(ids.map((each) => [each, service])) });

  it('wraps and unwraps, and carries the seals of the vault', async () => {
    const context = { purpose: 'connection', orgId: 'org_a', subjectId: 'con_a', version: 1 };
    const kms = keyring();

    const sealed = await seal(kms, context, Buffer.from('a refresh token'));

    expect(sealed.kekId).toBe(id);
    expect((await open(kms, context, sealed)).toString()).toBe('a refresh token');
    for (const change of [{ orgId: 'org_b' }, { purpose: 'x' }, { subjectId: 'con_b' }, { version: 2 }]) {
      expect(await refusal(open(kms, { ...context, ...change }, sealed))).toBe('KX_VAULT_OPEN');
    }
    expect(await refusal(open(kms, context, { ...sealed, kekId: otherId }))).toBe('KX_VAULT_OPEN');
  });

  it('never sends the secret itself, only its data key', async () => {
    const context = { purpose: 'connection', orgId: 'org_a', subjectId: 'con_a', version: 1 };
    const secret = 'a refresh token that stays here';

    await seal(keyring(), context, Buffer.from(secret));

    const sent = JSON.stringify(standIn.seen.map(({ body }) => body));
    expect(sent).not.toContain(secret);
    expect(sent).not.toContain(Buffer.from(secret).toString('base64').slice(0, 30));
    expect(standIn.seen).toHaveLength(1);
  });

  it('refuses a wrapped key that was changed, under another key or with other context', async () => {
    const dek = randomBytes(32);
    const wrapped = await service.wrap(id, dek, aad);

    expect(await service.unwrap(id, wrapped, aad)).toEqual(dek);
    expect(await refusal(service.unwrap(id, wrapped, otherAad))).toBe('KX_VAULT_OPEN');
    expect(await refusal(service.unwrap(otherId, wrapped, aad))).toBe('KX_VAULT_OPEN');
    for (let byte = 0; byte < wrapped.length; byte += 3) {
      const changed = Buffer.from(wrapped);
      changed.writeUInt8(changed.readUInt8(byte) ^ (1 << (byte % 6)), byte);
      expect(await refusal(service.unwrap(id, changed, aad))).toBe('KX_VAULT_OPEN');
    }
    expect(await refusal(service.unwrap(id, Buffer.alloc(0), aad))).not.toBe('done');
  });

  it('refuses a data key of another length', async () => {
    const wrapped = await service.wrap(id, randomBytes(16), aad);
    expect(await refusal(service.unwrap(id, wrapped, aad))).toBe('KX_VAULT_OPEN');
  });

  it('says that the key is refused when it is disabled or unknown, and does not ask twice', async () => {
    const wrapped = await service.wrap(id, randomBytes(32), aad);
    for (const key of standIn.keys.values()) key.enabled = false;
    standIn.seen.length = 0;

    expect(await refusal(service.wrap(id, randomBytes(32), aad))).toBe('KX_KMS_REFUSED');
    expect(await refusal(service.unwrap(id, wrapped, aad))).toBe('KX_KMS_REFUSED');
    expect(standIn.seen).toHaveLength(2);
    standIn.keys.clear();
    expect(await refusal(service.unwrap(id, wrapped, aad))).toBe('KX_KMS_REFUSED');
  });

  it('says that the backend is refused', async () => {
    lockOut();
    expect(await refusal((await create(standIn.url)).wrap(id, randomBytes(32), aad))).toBe('KX_KMS_REFUSED');
  });

  it.each([500, 503, 429, 'hang', 'garbage'] as const)(
    'passes over one %s, and gives up after two',
    async (fault) => {
      standIn.faults.push(fault);
      expect(await refusal(service.wrap(id, randomBytes(32), aad))).toBe('done');
      expect(standIn.seen).toHaveLength(2);

      standIn.faults.push(fault, fault);
      expect(await refusal(service.wrap(id, randomBytes(32), aad))).toBe('KX_KMS_UNAVAILABLE');
      expect(standIn.seen).toHaveLength(4);
    },
  );

  it('says that nobody answers', async () => {
    await service.wrap(id, randomBytes(32), aad);
    await standIn.close();
    expect(await refusal(service.wrap(id, randomBytes(32), aad))).toBe('KX_KMS_UNAVAILABLE');
  });

  it('passes the probe, unless it does not bind the context', async () => {
    expect(await refusal(probeKey(service, id))).toBe('done');
    standIn.isCareless = true;
    expect(await refusal(probeKey(service, id))).toBe('KX_CONFIG_INVALID');
  });

  it('shows no data key in an error', async () => {
    const dek = randomBytes(32);
    standIn.faults.push(500, 500);
    const error: unknown = await service.wrap(id, dek, aad).catch((thrown: unknown) => thrown);
    const shown = inspect(error, { depth: 8, showHidden: true });
    expect(shown).not.toContain(dek.toString('base64'));
    expect(shown).not.toContain(dek.toString('hex'));
    expect(shown).not.toMatch(/hvs\.|ya29|a-secret-access/);
  });
});

describe('AWS KMS', () => {
  it('names every field of the context, for CloudTrail and key policies', async () => {
    standIn = await startAwsStandIn([arn(1)]);
    await (await createAwsKms({ endpoint: standIn.url })).wrap(`aws:${arn(1)}`, randomBytes(32), aad);
    expect(standIn.seen[0]?.body.EncryptionContext).toEqual({
      'kontext:format': '1',
      'kontext:purpose': 'connection',
      'kontext:org': 'org_a',
      'kontext:subject': 'con_a',
      'kontext:version': '1',
      'kontext:kek': 'kek',
    });
  });

  it('refuses a context of another shape instead of binding half of it', async () => {
    standIn = await startAwsStandIn([arn(1)]);
    const service = await createAwsKms({ endpoint: standIn.url });
    const short = encodeAad(['1', 'connection']);
    expect(await refusal(service.wrap(`aws:${arn(1)}`, randomBytes(32), short))).toBe('KX_INTERNAL');
    expect(standIn.seen).toEqual([]);
  });
});

describe('Google Cloud KMS', () => {
  it('asks again when an answer arrives damaged', async () => {
    standIn = await startGcpStandIn([resource(1)]);
    vi.stubEnv('GCE_METADATA_HOST', standIn.url.slice('http://'.length));
    const service = await createGcpKms({ endpoint: standIn.url });
    const dek = randomBytes(32);
    standIn.damagesNext = true;
    const wrapped = await service.wrap(`gcp:${resource(1)}`, dek, aad);
    standIn.damagesNext = true;
    expect(await service.unwrap(`gcp:${resource(1)}`, wrapped, aad)).toEqual(dek);
    expect(standIn.seen).toHaveLength(4);
  });

  it('checksums as RFC 3720 does (appendix B.4)', () => {
    const ascending = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    expect(crc32c(Buffer.alloc(32)).toString(16)).toBe('8a9136aa');
    expect(crc32c(Buffer.alloc(32, 0xff)).toString(16)).toBe('62a8ab43');
    expect(crc32c(ascending).toString(16)).toBe('46dd794e');
  });
});

describe('Vault transit', () => {
  it('reads the token anew for every request, and sends the namespace', async () => {
    standIn = await startVaultStandIn(['one']);
    const service = createVaultTransit({ ...vaultOptions(standIn.url), namespace: 'team/a' });
    writeFileSync(join(directory, 'token'), 'hvs.expired');
    expect(await refusal(service.wrap('vault:transit/one', randomBytes(32), aad))).toBe('KX_KMS_REFUSED');
    writeFileSync(join(directory, 'token'), vaultToken);
    expect(await refusal(service.wrap('vault:transit/one', randomBytes(32), aad))).toBe('done');
    expect(standIn.seen[0]?.headers['x-vault-namespace']).toBe('team/a');
  });

  it.each(['', 'two\nlines', 'no\u00a0token'])('refuses a token file that holds %j', async (content) => {
    standIn = await startVaultStandIn(['one']);
    writeFileSync(join(directory, 'token'), content);
    const service = createVaultTransit(vaultOptions(standIn.url));
    expect(await refusal(service.wrap('vault:transit/one', randomBytes(32), aad))).toBe('KX_KMS_REFUSED');
    rmSync(join(directory, 'token'));
    expect(await refusal(service.wrap('vault:transit/one', randomBytes(32), aad))).toBe('KX_KMS_REFUSED');
    expect(standIn.seen).toEqual([]);
  });

  it('says which mount is missing', async () => {
    standIn = await startVaultStandIn(['one']);
    const service = createVaultTransit(vaultOptions(standIn.url));
    await expect(service.wrap('vault:other/one', randomBytes(32), aad)).rejects.toMatchObject({
      code: 'KX_KMS_REFUSED',
      why: 'there is no transit engine under that mount',
    });
  });
});

describe('an SDK that is not installed', () => {
  it('is named with the command that installs it', async () => {
    standIn = await startVaultStandIn([]);
    const name = '@kontext/not-an-sdk';
    await expect(loadSdk(name, () => import(/* @vite-ignore */ name))).rejects.toMatchObject({
      code: 'KX_CONFIG_INVALID',
      hint: expect.stringContaining(`npm install ${name}`),
    });
  });
});
