import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestStore, testStores } from './test-stores.ts';

/**
 * Tables of policies, approvals, webhooks, the log and what stands around it, each with the columns a row needs beside `org_id`;
 * and the role that writes it, where role system may not.
 */
const tables: readonly (readonly [string, string, string, ('app' | 'erase')?])[] = [
  [
    'policy_publications',
    'seq, version, mode, author, reason, created_at',
    "1, 1, 'enforce', 'a', 'r', now()",
  ],
  ['audit_logs', 'size, hashes, updated_at', "0, '', now()"],
  ['audit_log_nodes', 'level, position, hash', "0, 0, 'h'"],
  ['audit_checkpoints', 'size, root, created_at', "1, 'r', now()"],
  [
    'audit_segments',
    'stream_id, first_seq, last_seq, prev, head, accepted_at',
    "'str_' || $1, 1, 1, 'p', 'h', now()",
  ],
  [
    'approvals',
    'id, session_id, user_id, agent, hostname, tool, call_hash, shape_hash, part, call, call_clipped, rule, policy_version, reason, four_eyes, state, created_at, expires_at',
    "'apr_' || $1, 'ses_' || $1, 'usr_' || $1, 'claude', 'h', 'Bash', 'c', 's', 'p', '{}', false, 'r', 1, '', false, 'pending', now(), now()",
  ],
  [
    'webhooks',
    'id, url, events, secret_id, created_by, created_at',
    "'whk_' || $1, 'https://a', '{}', 'sec_' || $1, 'u', now()",
  ],
  [
    'webhook_deliveries',
    'id, webhook_id, event, body, state, due_at, created_at',
    "'whd_' || $1, 'whk_' || $1, 'e', '{}', 'waiting', now(), now()",
  ],
  ['audit_refs', 'ref, stream_id, seq, part_day, received_at', "'r', 'str_' || $1, 1, now(), now()"],
  [
    'audit_rollups',
    'hour, kind, user_id, agent, tool, decision, mode, count',
    "now(), 'k', 'u', 'a', 't', 'd', 'm', 1",
  ],
  ['audit_rollup_positions', 'next_leaf, updated_at', '0, now()'],
  [
    'audit_settings',
    'payloads, retention_class, changed_by, changed_at',
    "'full', 'standard', 'u', now()",
    'app',
  ],
  ['audit_holds', 'session_id, reason, held_by, held_at', "'ses_' || $1, 'r', 'u', now()", 'erase'],
  [
    'audit_exports',
    'id, user_id, format, query, without_payloads, state, created_at, expires_at',
    "'exp_' || $1, 'u', 'csv', '', false, 'running', now(), now()",
  ],
  ['audit_export_chunks', 'export_id, chunk, "offset", data', "'exp_' || $1, 0, 0, ''"],
  [
    'audit_sinks',
    'id, name, url, kinds, payloads, secret_id, state, next_leaf, due_at, created_by, created_at',
    "'snk_' || $1, 'n', 'https://a', '{}', false, 'sec_' || $1, 'active', 0, now(), 'u', now()",
  ],
  [
    'audit_sink_deliveries',
    'id, sink_id, state, first_leaf, last_leaf, events, attempts, first_at, at',
    "'skd_' || $1, 'snk_' || $1, 'delivered', 0, 0, 1, 1, now(), now()",
  ],
];

describe.each(testStores())('rows of other organisations on $kind', ({ open }) => {
  let opened: TestStore;
  beforeAll(async () => {
    opened = await open();
    await opened.store.transaction({ role: 'system', orgId: null }, async (tx) => {
      for (const org of ['org_a', 'org_b']) {
        const run = (text: string) => tx.execute(sql.raw(text.replaceAll('$1', `'${org}'`)));
        await run(`INSERT INTO orgs (id, slug, name, created_at) VALUES ($1, $1, $1, now())`);
        await run(`INSERT INTO users (id, org_id, name, created_at) VALUES ('usr_' || $1, $1, 'u', now())`);
        await run(
          `INSERT INTO agents (id, org_id, name, created_at) VALUES ('agt_' || $1, $1, 'claude', now())`,
        );
        await run(`INSERT INTO sessions (id, org_id, user_id, agent_id, agent, agent_version, hostname, cli_version, state, mode,
          policy_version, login_grant_id, started_at, last_heartbeat_at)
          VALUES ('ses_' || $1, $1, 'usr_' || $1, 'agt_' || $1, 'claude', '', '', '', 'live', 'enforce', 1, 'g', now(), now())`);
        await run(`INSERT INTO secrets (id, org_id, purpose, subject_id, version, format, kek_id, wrapped_dek, iv, ciphertext, created_at)
          VALUES ('sec_' || $1, $1, 'webhook', $1, 1, 1, 'k', '', '', '', now())`);
        await run(`INSERT INTO audit_streams (id, org_id, kind, nonce, head_hash, part_day, part_started_at, created_at, updated_at)
          VALUES ('str_' || $1, $1, 'admin', '', '', now(), now(), now(), now())`);
        for (const [table, columns, values, role] of tables) {
          if (role !== undefined) continue;
          await run(`INSERT INTO ${table} (org_id, ${columns}) VALUES ($1, ${values})`);
        }
      }
    });
    for (const [table, columns, values, role] of tables) {
      for (const orgId of ['org_a', 'org_b']) {
        if (role === undefined) continue;
        const text = `INSERT INTO ${table} (org_id, ${columns}) VALUES ($1, ${values})`;
        await opened.store.transaction({ role, orgId }, (tx) =>
          tx.execute(sql.raw(text.replaceAll('$1', `'${orgId}'`))),
        );
      }
    }
  });
  afterAll(() => opened?.close());

  describe.each(tables)('%s', (table) => {
    test.each(['app', 'ingest', 'read', 'erase'] as const)('are hidden from role %s', async (role) => {
      const seen = opened.store.transaction({ role, orgId: 'org_b' }, (tx) =>
        tx.execute(sql.raw(`SELECT DISTINCT org_id FROM ${table}`)),
      );
      const orgs = await seen.then(
        ({ rows }) => rows.map((row) => row.org_id),
        (error: unknown) =>
          /permission denied/.test(String(error)) ? 'no right to read' : Promise.reject(error),
      );
      expect([['org_b'], 'no right to read']).toContainEqual(orgs);
      // Whoever reads nothing at all would pass the line above everywhere.
      if (role === 'read') expect(orgs).toEqual(['org_b']);
    });

    test.each(['app', 'ingest', 'erase'] as const)(
      'are neither written nor changed by role %s',
      async (role) => {
        const change = (text: string) =>
          opened.store.transaction(
            { role, orgId: 'org_b' },
            async (tx) => (await tx.execute(sql.raw(text))).rows,
          );
        const [, columns, values] = tables.find(([name]) => name === table) ?? ['', '', ''];
        const foreign = `INSERT INTO ${table} (org_id, ${columns}) VALUES ('org_a', ${values.replaceAll('$1', "'new'")})`;
        await expect(change(foreign)).rejects.toThrow(/row-level security|permission denied/);
        const changed = await change(
          `UPDATE ${table} SET org_id = org_id WHERE org_id = 'org_a' RETURNING 1`,
        ).catch((error: unknown) => (/permission denied/.test(String(error)) ? [] : Promise.reject(error)));
        expect(changed).toEqual([]);
      },
    );
  });
});
