import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDpopProof } from '@kontext/oauth';
import { findFreePort } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';
import { metricTable } from './metric-table.ts';
import { createMetrics } from './metrics.ts';
import { addStoreMetrics } from './store-metrics.ts';

const token = 'a-token-of-twenty-letters';

/** A value of each label of the metrics that are read from the database. */
const shownLabels: Readonly<Record<string, string>> = { state: 'active', class: 'days-30' };

/** Value of a metric on a page; null when it has none. */
function readValue(page: string, series: string): number | null {
  const line = page.split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}

describe.each(testStores())('metrics on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let login: TestLogin;
  let beside: number;
  beforeAll(async () => {
    opened = await open();
    const [port, besidePort] = [await findFreePort(), await findFreePort()];
    beside = besidePort;
    const metrics = { token, listen: { host: '127.0.0.1', port: beside } };
    const config = {
      apiUrl: `http://127.0.0.1:${port}`,
      local: true,
      tls: null,
      trustedProxies: [],
      metrics,
    };
    app = await startTestApp(opened.store, { wire, kms, port, config });
    login = await logIn(app);
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  const get = (authorization?: string) =>
    fetch(`${app.apiUrl}/metrics`, { headers: authorization === undefined ? {} : { authorization } });
  const read = async () => (await get(`Bearer ${token}`)).text();
  async function call(name: string, body = '{}'): Promise<number> {
    const { accessToken, jwk: key } = login;
    const url = `${app.apiUrl}/kontext.v1.${name}`;
    const dpop = await createDpopProof({ key, htm: 'POST', htu: url, accessToken, nowMs: Date.now() });
    const headers = { authorization: `DPoP ${accessToken}`, dpop, 'content-type': 'application/json' };
    return (await fetch(url, { method: 'POST', headers, body })).status;
  }

  it('are shown to whoever has the token, and to nobody else', async () => {
    for (const wrong of [undefined, 'Bearer ', `Bearer ${token}x`, token, `Basic ${token}`]) {
      const refused = await get(wrong);
      expect(refused.status).toBe(401);
      expect(refused.headers.get('www-authenticate')).toBe('Bearer');
      expect(await refused.text()).not.toContain('kontext_');
    }
    const page = await get(`Bearer ${token}`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, expect.stringContaining('0.0.4')]);
    expect(await page.text()).not.toContain(token);
  });

  it('are shown on a loopback port of their own without one', async () => {
    const page = await fetch(`http://127.0.0.1:${beside}/metrics`);
    expect(readValue(await page.text(), 'kontext_store_up')).toBe(1);
    expect((await fetch(`http://127.0.0.1:${beside}/`)).status).toBe(404);
  });

  it('count calls by procedure and code, and uploads by answer', async () => {
    expect(await call('OrganisationService/GetCaller')).toBe(200);
    expect(await call('AuditService/ReadStream', '{"streamId":"str_x"}')).not.toBe(200);
    expect(await call('AuditService/AppendEvents')).not.toBe(200);
    const page = await read();
    const calls = (rpc: string, code: string) =>
      readValue(page, `kontext_rpc_requests_total{rpc="${rpc}",code="${code}"}`);
    expect(calls('OrganisationService/GetCaller', 'ok')).toBe(1);
    expect(page).toMatch(/kontext_rpc_requests_total\{rpc="AuditService\/ReadStream",code="[a-z_]+"\} 1/);
    expect(calls('AuditService/ReadStream', 'ok')).toBeNull();
    expect(readValue(page, 'kontext_audit_appends_total{answer="refused"}')).toBe(1);
    expect(readValue(page, 'kontext_rpc_duration_seconds_count{rpc="OrganisationService/GetCaller"}')).toBe(
      1,
    );
    expect(readValue(page, 'kontext_http_requests_total{class="2xx"}')).toBeGreaterThan(0);
  });

  it('tell of every background task', async () => {
    await expect
      .poll(async () => readValue(await read(), 'kontext_task_runs_total{task="audit log",result="ok"}'), {
        timeout: 20_000,
      })
      .toBeGreaterThan(0);
    const page = await read();
    expect(readValue(page, 'kontext_task_failing{task="audit log"}')).toBe(0);
    for (const task of ['maintenance', 'signing keys', 'sinks', 'webhooks', 'leases', 'audit log'])
      expect(readValue(page, `kontext_task_since_success_seconds{task="${task}"}`)).toBeGreaterThanOrEqual(0);
  });

  it('tell what the database knows', async () => {
    const page = await read();
    for (const { name, from, labels } of metricTable.filter((one) => one.from === 'database')) {
      if (name === 'kontext_audit_checkpoint_age_seconds') continue;
      const [label] = labels;
      const series = label === undefined ? name : `${name}{${label}="${shownLabels[label]}"}`;
      expect(readValue(page, series), `${name} ${from}`).not.toBeNull();
    }
  });

  it('say nothing that a user or an organisation could choose', async () => {
    await call('NoService/NoMethod');
    await fetch(`${app.apiUrl}/planted-path`);
    const page = await read();
    expect(page).not.toMatch(/planted|NoService|org_|usr_|evt_|127\.0\.0\.1/);
    const known: readonly string[] = metricTable.map(({ name }) => name);
    const shown = page
      .split('\n')
      .filter((line) => line.startsWith('# TYPE'))
      .map((line) => line.split(' ')[2] ?? '');
    expect(shown.sort()).toEqual([...known].sort());
  });
});

describe('the page of metrics', () => {
  const broken = (fails: () => boolean, asked: { count: number }): Store =>
    ({
      transaction: async () => {
        asked.count += 1;
        if (fails()) throw new Error('planted');
        // Every figure is 7.
        const groups: Record<string, object> = { sinks: { active: 7 }, payloadPartitions: { hold: 7 } };
        return new Proxy({}, { get: (_target, name) => groups[String(name)] ?? 7 });
      },
    }) as unknown as Store;

  it('has everything else when the database does not answer, and says so', async () => {
    const metrics = createMetrics(() => 0);
    let fails = false;
    addStoreMetrics(
      metrics,
      broken(() => fails, { count: 0 }),
      () => clockMs,
    );
    let clockMs = 0;
    expect(readValue(await metrics.render(), 'kontext_leases_live')).toBe(7);
    fails = true;
    clockMs = 15_000;
    const page = await metrics.render();
    expect([readValue(page, 'kontext_store_up'), readValue(page, 'kontext_leases_live')]).toEqual([0, null]);
    expect(page).not.toContain('planted');
    fails = false;
    expect(readValue(await metrics.render(), 'kontext_leases_live')).toBe(7);
  });

  it('asks the database at most every fifteen seconds', async () => {
    const [metrics, asked] = [createMetrics(() => 0), { count: 0 }];
    let clockMs = 0;
    addStoreMetrics(
      metrics,
      broken(() => false, asked),
      () => clockMs,
    );
    for (let at = 0; at < 5; at += 1) await metrics.render();
    clockMs = 14_999;
    await metrics.render();
    expect(asked.count).toBe(1);
    clockMs = 15_000;
    await metrics.render();
    expect(asked.count).toBe(2);
  });

  it('is documented, name by name (npm run generate)', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../../docs/metrics.md'), 'utf8');
    const documented = text.split('\n').filter((line) => line.startsWith('| `kontext_'));
    expect(documented).toEqual(
      metricTable.map(
        ({ name, type, labels, sentence, from }) =>
          `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(' ') || '–'} | ${sentence} | ${from} |`,
      ),
    );
  });

  it('is not there without a setting', async () => {
    expect(loadConfig({}).metrics).toEqual({ token: null, listen: null });
    const set = { KONTEXT_METRICS_TOKEN: token, KONTEXT_METRICS_LISTEN: '[::1]:9180' };
    expect(loadConfig(set).metrics).toEqual({ token, listen: { host: '::1', port: 9180 } });
    for (const bad of ['short', 'with spaces in between it'])
      expect(() => loadConfig({ KONTEXT_METRICS_TOKEN: bad })).toThrow(/KONTEXT_METRICS_TOKEN/);
    for (const bad of ['0.0.0.0:9180', 'example.com:9180', '9180'])
      expect(() => loadConfig({ KONTEXT_METRICS_LISTEN: bad })).toThrow(/KONTEXT_METRICS_LISTEN/);
  });
});
