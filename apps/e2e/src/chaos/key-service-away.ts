import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { startStage, until } from './stage.ts';

/** The key service is away: credentials are refused with a clean error, events are taken, and the log goes on after. */
export async function loseKeyService({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const service = await startTransit();
  const tokenFile = join(tmpdir(), `kx-vault-token-${process.pid}`);
  writeFileSync(tokenFile, 'hvs.chaos', { mode: 0o600 });
  const stage = await startStage({
    fresh: true,
    backendEnv: {
      KONTEXT_KMS_KEYS: 'vault:transit/chaos',
      KONTEXT_VAULT_ADDR: service.url,
      KONTEXT_VAULT_TOKEN_FILE: tokenFile,
    },
    close: service.close,
  });
  const { world, sender } = stage;
  try {
    const put = await runConfirmed(world, ['secrets', 'put', 'alpha'], {
      stdin: 'value-of-alpha-0123456789',
    });
    must(put.exitCode === 0, `a secret is stored: ${put.stderr}`);
    writeTemplate(world, 'ALPHA={{kontext:alpha}}\n');
    const resolve = () => world.cli(['run', '--trust', '--', 'sh', '-c', 'echo got=$ALPHA']);
    const stream = await sender.open();
    let said = '';
    for (let round = 0; round < rounds; round += 1) {
      must((await resolve()).stdout.includes('got=value-of-alpha'), 'a credential is handed out before');
      service.isAway = true;
      await stream.deliver(stream.write(20));
      const refused = await resolve();
      said = /\((KX_\w+)\)/.exec(refused.stderr)?.[1] ?? '';
      must(
        refused.exitCode !== 0 && !refused.stdout.includes('value-of'),
        `no credential leaves: ${refused.stderr}`,
      );
      must(said !== '' && said !== 'KX_INTERNAL', `the error is a clean one: ${refused.stderr}`);
      await stream.deliver(stream.write(20));
      service.isAway = false;
      await until('credentials are handed out again', async () =>
        (await resolve()).stdout.includes('got=value-of-alpha'),
      );
    }
    return await stage.finish({ outages: rounds, said, asked: service.asked });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** As much of Vault's transit engine as the backend asks of it. */
async function startTransit() {
  const key = randomBytes(32);
  const service = { url: '', isAway: false, asked: 0, close: (): Promise<void> => Promise.resolve() };
  const server = createServer((incoming, outgoing) => {
    const pieces: Buffer[] = [];
    incoming.on('data', (piece: Buffer) => pieces.push(piece));
    incoming.on('end', () => {
      service.asked += 1;
      const { plaintext, ciphertext, context } = JSON.parse(Buffer.concat(pieces).toString()) as Record<
        string,
        string
      >;
      if (service.isAway) {
        outgoing.writeHead(503).end('{"errors":["Vault is sealed"]}');
        return;
      }
      const aad = Buffer.from(context ?? '', 'base64');
      try {
        const data =
          plaintext === undefined
            ? { plaintext: open(key, aad, ciphertext ?? '') }
            : { ciphertext: seal(key, aad, plaintext) };
        outgoing.writeHead(200).end(JSON.stringify({ data }));
      } catch {
        // The backend tries what must not open, to see that the engine heeds the context.
        outgoing.writeHead(400).end('{"errors":["cipher: message authentication failed"]}');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  service.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  service.close = async () => {
    server.closeAllConnections();
    server.close();
  };
  return service;
}

function seal(key: Buffer, aad: Buffer, plaintext: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: 16 }).setAAD(aad);
  const body = Buffer.concat([cipher.update(plaintext, 'base64'), cipher.final()]);
  return `vault:v1:${Buffer.concat([iv, body, cipher.getAuthTag()]).toString('base64')}`;
}

function open(key: Buffer, aad: Buffer, ciphertext: string): string {
  const bytes = Buffer.from(ciphertext.slice('vault:v1:'.length), 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 });
  decipher.setAAD(aad).setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('base64');
}
