import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createId } from '@kontext/audit';
import { hashPolicies, type PolicyText } from '@kontext/policy';
import {
  findNewestSeq,
  insertPublication,
  insertVersion,
  lockPolicy,
  type PublicationRow,
} from '../store/queries/policies.ts';
import type { Store } from '../store/store.ts';

/**
 * Bundles the policy worker for plain Node, which reads no TypeScript, and gives its path.
 *
 * It lies where bare imports of the repository still resolve; its name carries a hash of its content.
 *
 * @param prelude JavaScript that runs before the worker's own, in its thread.
 */
export async function buildPolicyWorker(prelude = ''): Promise<string> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('policy-worker.ts', import.meta.url))],
    ...{ bundle: true, write: false, platform: 'node', format: 'esm', target: 'node20', logLevel: 'silent' },
    banner: {
      js: `import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);${prelude}`,
    },
  });
  const text = outputFiles[0]?.text ?? '';
  const folder = fileURLToPath(new URL('../../../../node_modules/.cache/kontext/', import.meta.url));
  const path = join(
    folder,
    `policy-worker-${createHash('sha256').update(text).digest('hex').slice(0, 16)}.mjs`,
  );
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${path}.${process.pid}`, text);
    renameSync(`${path}.${process.pid}`, path);
  }
  return path;
}

/** What a test publishes; what is left out is that of a first publication. */
export interface TestPublication extends Partial<Pick<PublicationRow, 'groupName' | 'mode' | 'staleRule'>> {
  /** A new version with these rules; left out: the newest one again. */
  readonly policies?: readonly PolicyText[];
}

/** Publishes without validating or confirming anything; returns the version. */
export function publishForTest(store: Store, orgId: string, wanted: TestPublication): Promise<number> {
  const { groupName = '', mode = 'observe', staleRule = 'deny_sensitive', policies } = wanted;
  return store.transaction({ role: 'system', orgId: null }, async (tx) => {
    const policy = await lockPolicy(tx, orgId);
    if (policy === null) throw new Error('the organisation has no policy');
    const made = { orgId, author: createId('usr', 0), reason: 'test', createdAt: new Date() };
    const version = policy.newestVersion + (policies === undefined ? 0 : 1);
    if (policies !== undefined) {
      const texts = { policies: JSON.stringify(policies), sources: '[]', hash: hashPolicies(policies) };
      await insertVersion(tx, { ...made, ...texts, policyId: policy.id, version });
    }
    const seq = (await findNewestSeq(tx, orgId)) + 1;
    await insertPublication(tx, { ...made, seq, groupName, version, mode, staleRule, withdrawn: false });
    return version;
  });
}
