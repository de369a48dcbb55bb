/**
 * Planted values stand nowhere but in the environment of the agent.
 *
 * The agent of this story is careless: it puts both its credentials, in every form a shell has at hand, into prompts,
 * tool inputs, outputs and errors. Each search is shown to be able to find: it sees the values where they may be, and
 * a control that is put where they may not.
 *
 * It also says secrets kontext has never heard of, which only look like some: they are recorded nowhere either, although the
 * organisation keeps payloads in full.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, type Keyring, partState, startKeyring } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SinkReceiver, startSinkReceiver } from '../audit/sink-receiver.ts';
import { databaseKinds, dumpDatabase, openDatabase, type StoryDatabase, sql } from '../databases.ts';
import { connectUpstream } from '../demo/steps.ts';
import { findUndocumented } from '../find-undocumented.ts';
import { type AuditTail, followAudit, type TailedEvent } from '../follow-audit.ts';
import { bashCall, type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { type Finding, findInBytes, findInFiles, findInProcesses, formsOf } from '../search.ts';
import { logIn, startWorld, type World } from '../world.ts';

/** What is planted; an agent may know the first two, and nobody but the backend the rest. */
interface Planted {
  readonly staticKey: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly clientSecret: string;
  readonly passcode: string;
  readonly loginAccessToken: string;
  readonly loginRefreshToken: string;
  /** A receiver's signing key, without `whsec_`. */
  readonly sinkKey: string;
}

const hasKeyring = partState('keyring').available;

describe.each(databaseKinds)('on %s, a planted value %s', (kind, skipped) => {
  if (skipped !== '') return it.skip(skipped);
  let database: StoryDatabase;
  let keyring: Keyring | null = null;
  let world: World;
  let tail: AuditTail;
  let puppet: Puppet;
  let receiver: SinkReceiver;
  let planted: Planted;
  const staticKey = `kx canary/+=?&"ä\\${randomBytes(12).toString('hex')}`;
  /** Shares no run of characters with a secret: also a part of one would be taken out. */
  const marker = `Unverfänglich~${randomBytes(12).toString('hex')}`;
  const outputs: CommandResult[] = [];
  /** Known to nobody but the agent; put together here so that no scanner takes this file for a leak. */
  const random = randomBytes(9).toString('hex');
  const strangers = [`ghp_${random}${random}`, `Hunter-${random}`, `sk_live_${random}x9`];
  const metricsToken = randomBytes(24).toString('hex');

  beforeAll(async () => {
    database = await openDatabase(kind);
    keyring = hasKeyring ? await startKeyring() : null;
    world = await startWorld({
      // Its passcode line is a positive control.
      fresh: true,
      recorded: true,
      cliEnv: { KONTEXT_LOG: 'debug', ...keyring?.env },
      backendEnv: { KONTEXT_LOG_LEVEL: 'trace', KONTEXT_METRICS_TOKEN: metricsToken },
      ...(database.url === undefined ? {} : { databaseUrl: database.url }),
    });
    outputs.push(await logIn(world, keyring === null ? ['--insecure-storage'] : []));
    await connectUpstream(world, () => undefined);
    outputs.push(await runConfirmed(world, ['secrets', 'put', 'stripe'], { stdin: staticKey }));
    outputs.push(await runConfirmed(world, ['audit', 'settings', '--payloads', 'full']));
    receiver = await startSinkReceiver();
    const sink = await runConfirmed(world, ['sinks', 'add', 'siem', receiver.url, '--payloads']);
    outputs.push({ ...sink, stdout: '' });
    receiver.secret = sink.stdout.trim();
    writeTemplate(world, 'DEMO_TOKEN={{kontext:demo}}\nSTRIPE_KEY={{kontext:stripe}}\n');
    tail = followAudit(world);
    puppet = await startPuppet(world, ['--mode', 'observe']);
    planted = await readPlanted();
    await beCareless(puppet, [planted.staticKey, planted.accessToken, marker]);
    await beCarelessWithOthers(puppet, strangers);
  });
  afterAll(async () => {
    await tail?.stop();
    await world?.close();
    await receiver?.close();
    await keyring?.stop();
    await database?.close();
  });

  async function readPlanted(): Promise<Planted> {
    const issued = await world.upstream?.issuedTokens();
    // On a busy machine a request may have been given up before it was answered.
    const login = exchanges('/oauth/token')
      .filter(({ responseBody }) => responseBody.length > 0)
      .map(({ responseBody }) => JSON.parse(responseBody.toString()) as Record<string, string>)
      .filter((answer) => answer.access_token !== undefined);
    return {
      staticKey,
      accessToken: issued?.accessTokens.at(-1) ?? '',
      refreshToken: issued?.refreshTokens.at(-1) ?? '',
      clientSecret: world.upstream?.clientSecret ?? '',
      passcode: world.passcode,
      loginAccessToken: login.at(-1)?.access_token ?? '',
      loginRefreshToken: login.at(0)?.refresh_token ?? '',
      sinkKey: receiver.secret.replace('whsec_', ''),
    };
  }
  const exchanges = (path: string) => (world.recorder?.exchanges ?? []).filter((e) => e.path === path);
  const values = () => Object.values(planted);
  const names = () => Object.keys(planted);
  /** Place and name of what was found, each once. */
  const describeFindings = (findings: readonly Finding[]) =>
    [...new Set(findings.map(({ place, value }) => `${place}: ${names()[value]}`))].sort();

  it('is really planted', () => {
    expect(outputs.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
    expect(values().map((value) => value.length > 8)).toEqual(values().map(() => true));
  });

  it('stands in the environment of the agent, and in no other process, while the session runs', () => {
    // The stand-in provider is no part of ours; its client secret is told to it by its arguments.
    const except = [world.upstream?.pid ?? 0];

    const found = describeFindings(findInProcesses(values(), except));
    const elsewhere = describeFindings(findInProcesses(values(), [...except, puppet.pid]));

    expect(found).toContain(`process ${puppet.pid} environ: staticKey`);
    expect(found).toContain(`process ${puppet.pid} environ: accessToken`);
    expect(elsewhere).toEqual([]);
  });

  it('stands in no answer to a search, in no export and in no metric, nor does what only looks like a secret', async () => {
    await tail.waitFor((e) => e.kind === 'tool_call.completed' && e.header.includes('toolu_strangers'));
    const bundle = join(world.home.workDir, 'bundle.jsonl');
    const table = join(world.home.workDir, 'events.csv');
    const answers = [
      await world.cli(['audit', 'search', '--json', '--payloads', '--all']),
      await world.cli(['audit', 'search', '--json', '--payloads', '--all', 'redacted']),
      await world.cli(['audit', 'facets', '--json']),
      await world.cli(['audit', 'export', '-o', bundle]),
      await world.cli(['audit', 'export', '--format', 'csv', '-o', table]),
      await world.cli(['status', '--json']),
      await world.cli(['doctor']),
    ];
    const metrics = await fetch(`${world.apiUrl}/metrics`, {
      headers: { authorization: `Bearer ${metricsToken}` },
    });
    const texts = [
      ...answers.map(({ stdout, stderr }) => stdout + stderr),
      ...[readFileSync(bundle, 'utf8'), readFileSync(table, 'utf8'), await metrics.text()],
    ];

    // Each of them is one that has something to say.
    expect(answers.slice(0, 5).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0]);
    expect(texts[0]).toContain('[redacted]');
    expect(texts[7]).toContain('[redacted]');
    expect(texts[8]).toContain('tool_call.decided');
    expect(texts[9]).toContain('kontext_');
    for (const [index, text] of texts.entries()) {
      expect(describeFindings(findInBytes(`answer ${index}`, text, values()))).toEqual([]);
      for (const stranger of strangers) expect(text).not.toContain(stranger);
    }
    expect(findInFiles([world.home.root], strangers)).toEqual([]);
  });

  it('stands in no message of a sink, neither headers nor body, and in nothing that is known of its deliveries', async () => {
    const lists = [
      await world.cli(['sinks', 'ls', '--json']),
      await world.cli(['sinks', 'deliveries', 'siem', '--json']),
    ];
    const isThere = () => receiver.taken().some(({ header }) => header.includes('toolu_strangers'));
    await expect.poll(isThere).toBe(true);
    const raw = receiver.heard.map((message) => message.raw).join('\n');
    const texts = [raw, ...lists.map(({ stdout, stderr }) => stdout + stderr)];

    expect(receiver.heard.map(({ isSigned }) => isSigned)).not.toContain(false);
    expect(raw).toContain('[redacted]');
    expect(raw).toContain(marker);
    expect(texts.map((text) => text.includes('delivered') || text.includes('siem'))).not.toContain(false);
    for (const [index, text] of texts.entries()) {
      expect(describeFindings(findInBytes(`sink ${index}`, text, values()))).toEqual([]);
      for (const stranger of strangers) expect(text).not.toContain(stranger);
    }
  });

  it('stands in no file while the session runs: home, temp, runtime, state, embedded database', () => {
    expect(describeFindings(searchFiles())).toEqual([]);
  });

  it('stands in no file after the session has ended', async () => {
    expect((await puppet.end()).exitCode).toBe(0);
    await tail.waitFor((e) => e.kind === 'session.ended' && e.session === puppet.sessionId);

    expect(describeFindings(searchFiles())).toEqual([]);
  });

  it('stands in events that are all as they are documented, every one that is stored', async () => {
    const { stdout } = await world.cli(['audit', 'search', '--json', '--payloads', '--all']);
    const lines = stdout.split('\n').filter(Boolean);
    const events = lines.map((line) => JSON.parse(line) as TailedEvent);

    expect(findUndocumented(events)).toEqual([]);
    expect(events.length).toBeGreaterThanOrEqual(tail.events.length);
    // The organisation's stream, and both of the session.
    expect(new Set(events.map(({ streamId }) => streamId)).size).toBe(3);
    const kinds = events.map(({ kind }) => kind);
    const wanted = ['audit.settings_changed', 'connection.begun', 'connection.connected'];
    expect(kinds).toEqual(expect.arrayContaining(wanted));
    expect(new Set(kinds).size).toBeGreaterThan(12);
  });

  it('would be found in a file, in any form', () => {
    for (const [form, text] of formsOf(planted.staticKey)) {
      const control = join(world.home.home, 'control');
      writeFileSync(control, `junk${text}junk`);

      const found = describeFindings(searchFiles());
      rmSync(control);

      expect(found, form).toEqual([`${control}: staticKey`]);
    }
  });

  it('goes over the wire only where it has to', () => {
    const wire = world.recorder?.exchanges ?? [];
    const compressed = wire.filter(
      (e) => (e.requestHeaders['content-encoding'] ?? 'identity') !== 'identity',
    );
    const found = wire.flatMap((e) => [
      ...findInBytes(`${e.path.replace(/\?.*/, '')} request`, e.requestBody, values()),
      ...findInBytes(`${e.path.replace(/\?.*/, '')} response`, e.responseBody, values()),
      ...findInBytes(`${e.path.replace(/\?.*/, '')} path`, e.path, values()),
    ]);

    expect(compressed).toEqual([]);
    expect(describeFindings(found)).toEqual([
      '/kontext.v1.ConnectionService/PutSecret request: staticKey',
      '/kontext.v1.CredentialService/ResolveCredentials response: accessToken',
      '/kontext.v1.CredentialService/ResolveCredentials response: staticKey',
      '/kontext.v1.ProviderService/AddProvider request: clientSecret',
      '/kontext.v1.SinkService/AddSink response: sinkKey',
      '/login request: passcode',
      '/oauth/token request: loginRefreshToken',
      '/oauth/token response: loginAccessToken',
      '/oauth/token response: loginRefreshToken',
    ]);
  });

  it('stands in no line that command or backend wrote, but for the passcode’s own', () => {
    const backend = world.backend.output().split('\n');
    const [own, rest] = [
      backend.filter((line) => line.includes('local account: ')),
      backend.filter((line) => !line.includes('local account: ')),
    ];
    const words = [...outputs.map((o) => o.stdout + o.stderr), puppet.command.output()];

    expect(rest.length).toBeGreaterThan(10);
    expect(describeFindings(findInBytes('own', own.join('\n'), values()))).toEqual(['own: passcode']);
    expect(describeFindings(findInBytes('backend', rest.join('\n'), values()))).toEqual([]);
    expect(describeFindings(findInBytes('command', words.join('\n'), values()))).toEqual([]);
  });

  it('stands in no audit event, though the agent said it in every form', () => {
    const events = tail.events.filter(({ session }) => session === puppet.sessionId);
    const text = JSON.stringify(tail.events) + events.map((e) => e.payload).join('\n');
    const markerForms = [...formsOf(marker)].filter(([, form]) => text.includes(form)).map(([name]) => name);

    expect(describeFindings(findInBytes('audit', text, values()))).toEqual([]);
    // What is no secret came through in the same events.
    expect(markerForms).toEqual([...formsOf(marker).keys()]);
    expect(text).toContain('[redacted]');
    expect(events.filter((e) => e.kind === 'tool_call.decided')).toHaveLength(2 + formsOf(marker).size * 3);
  });

  it.skipIf(kind !== 'Postgres')('stands in no dump of the database', async () => {
    const dump = await dumpDatabase(database.url ?? '');
    await sql(database.url ?? '', `CREATE TABLE control AS SELECT '${planted.refreshToken}'::text AS value`);
    const control = await dumpDatabase(database.url ?? '');

    expect(dump).toContain('audit_events');
    expect(describeFindings(findInBytes('dump', dump, values()))).toEqual([]);
    expect(describeFindings(findInBytes('dump', control, values()))).toEqual(['dump: refreshToken']);
  });

  /** Everything of this world; where no keyring is, the login lies in the file that was asked for. */
  function searchFiles(): Finding[] {
    const findings = findInFiles([world.home.root], values());
    return hasKeyring ? findings : findings.filter(({ place }) => !place.includes('/kontext/secrets/'));
  }
});

/** Says each value in a place where its looks, its name or its neighbours give it away, and once more where nothing does. */
async function beCarelessWithOthers(
  puppet: Puppet,
  [token = '', password = '', key = '']: readonly string[],
) {
  const call = bashCall(
    `echo ${token} && mysql -uroot -p${password} app && STRIPE=${key} node pay.js`,
    'strangers',
  );
  const description = `logs in with ${password}`;
  await puppet.hook('PreToolUse', { ...call, tool_input: { ...call.tool_input, description } });
  const tool_response = { stdout: `hello ${token}`, password, config: { apiKey: key } };
  await puppet.hook('PostToolUse', { ...call, tool_response, duration_ms: 1 });
}

/** Says each value in each form, in everything an agent reports. */
async function beCareless(puppet: Puppet, values: readonly string[]): Promise<void> {
  const forms = values.flatMap((value) => [...formsOf(value).values()]);
  await puppet.hook('SessionStart', { source: 'startup' });
  await puppet.hook('UserPromptSubmit', { prompt: `use ${values.join(' and ')}` });
  for (const [at, form] of forms.entries()) {
    const call = bashCall(`curl -H 'authorization: ${form}' https://example.com/?k=${form}`, `form${at}`);
    const description = `sends ${form}`;
    await puppet.hook('PreToolUse', { ...call, tool_input: { ...call.tool_input, description } });
    await (at % 2 === 0
      ? puppet.hook('PostToolUse', { ...call, tool_response: { stdout: `got ${form}` }, duration_ms: 1 })
      : puppet.hook('PostToolUseFailure', { ...call, error: `Exit code 1: ${form}`, duration_ms: 1 }));
  }
  const all = { tool_name: 'Write', tool_use_id: 'toolu_all' };
  await puppet.hook('PreToolUse', {
    ...all,
    tool_input: { [forms.join('')]: forms, content: forms.join('\n') },
  });
}
