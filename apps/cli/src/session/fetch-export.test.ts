import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { createRouterTransport } from '@connectrpc/connect';
import { AuditService, type Export, ExportFormat, ExportSchema, ExportState } from '@kontext/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClients } from '../rpc/clients.ts';
import { createTestContext } from '../test-context.ts';
import { fetchExport } from './fetch-export.ts';

const content = Buffer.from('{"kontext":"audit-bundle"}\n'.repeat(100));
const row: Export = create(ExportSchema, {
  ...{ id: 'exp_1', state: ExportState.READY, format: ExportFormat.BUNDLE, bytes: BigInt(content.length) },
  sha256: createHash('sha256').update(content).digest(),
});

let cwd: string;
let target: string;
let partial: string;
let offsets: number[];
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'kontext-fetch-'));
  target = join(cwd, 'log.jsonl');
  partial = `${target}.exp_1.part`;
  offsets = [];
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const clients = createClients(
  createRouterTransport(({ service }) => {
    service(AuditService, {
      async *readExport({ offset }) {
        offsets.push(Number(offset));
        yield { data: content.subarray(Number(offset)) };
      },
    });
  }),
);
const fetchIt = () => fetchExport(createTestContext(), clients, row, target);

describe('fetchExport', () => {
  it('writes a file that is nobody else’s to read, and leaves nothing beside it', async () => {
    await fetchIt();

    expect(readFileSync(target).equals(content)).toBe(true);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(existsSync(partial)).toBe(false);
  });

  it('goes on where an earlier download was cut off', async () => {
    writeFileSync(partial, content.subarray(0, 1000), { mode: 0o600 });

    await fetchIt();

    expect(offsets).toEqual([1000]);
    expect(readFileSync(target).equals(content)).toBe(true);
  });

  it.each([
    ['a link to a file', (elsewhere: string) => symlinkSync(elsewhere, partial)],
    ['a link to nothing', (elsewhere: string) => symlinkSync(`${elsewhere}.new`, partial)],
    ['a file of two names', (elsewhere: string) => linkSync(elsewhere, partial)],
    [
      'a file that others may read',
      () => {
        writeFileSync(partial, '');
        chmodSync(partial, 0o644);
      },
    ],
  ])('refuses %s where the download goes, asks for nothing and writes nothing', async (_what, plant) => {
    const elsewhere = join(cwd, 'elsewhere');
    writeFileSync(elsewhere, 'mine', { mode: 0o600 });
    plant(elsewhere);

    const refused = { code: 'KX_USAGE', why: expect.stringContaining(partial) };
    await expect(fetchIt()).rejects.toEqual(expect.objectContaining(refused));
    expect(readFileSync(elsewhere, 'utf8')).toBe('mine');
    expect([existsSync(`${elsewhere}.new`), existsSync(target)]).toEqual([false, false]);
    expect(offsets).toEqual([]);
  });
});
