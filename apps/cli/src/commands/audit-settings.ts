import { KontextError } from '@kontext/errors';
import { type AuditSettings, PayloadSetting } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface SettingsOptions {
  readonly payloads?: string;
  readonly keep?: string;
  readonly json?: boolean;
}

interface ReasonOptions {
  readonly reason: string;
  readonly json?: boolean;
}

interface HoldOptions extends ReasonOptions {
  readonly release?: boolean;
}

/** `kontext audit settings|erase|hold`: what is kept of payloads, and for how long (docs/retention.md). */
export function defineAuditSettings(command: Command, run: RunCommand): void {
  command
    .command('settings')
    .description('show what is kept of payloads, or change it for what is recorded from now on')
    .option('--payloads <setting>', 'summary, full or omitted (owner, admin, security)')
    .option('--keep <class>', 'retention class of payloads: standard, days-30, days-90 or days-365')
    .option('--json', 'as JSON')
    .action((options: SettingsOptions) => run({}, (context) => settings(context, options)));
  command
    .command('erase <what>')
    .description(
      'erase payloads for good: of an event (evt_…), a session (ses_…) or a user (usr_…); headers stay',
    )
    .requiredOption('--reason <text>', 'why; it is recorded')
    .option('--json', 'as JSON')
    .action((what: string, options: ReasonOptions) => run({}, (context) => erase(context, what, options)));
  command
    .command('hold <session>')
    .description('keep the payloads of a session from retention and erasure')
    .requiredOption('--reason <text>', 'why; it is recorded')
    .option('--release', 'let them go again')
    .option('--json', 'as JSON')
    .action((sessionId: string, options: HoldOptions) =>
      run({}, (context) => hold(context, sessionId, options)),
    );
}

const settingsByName: Readonly<Record<string, PayloadSetting>> = {
  summary: PayloadSetting.SUMMARY,
  full: PayloadSetting.FULL,
  omitted: PayloadSetting.OMITTED,
};

async function settings(context: Context, options: SettingsOptions): Promise<number> {
  const changes = options.payloads !== undefined || options.keep !== undefined;
  const payloads =
    options.payloads === undefined ? PayloadSetting.UNSPECIFIED : settingsByName[options.payloads];
  if (payloads === undefined || options.keep === '') {
    throw new KontextError('KX_USAGE', 'these settings cannot be used', {
      why: '--payloads is summary, full or omitted, and --keep is the name of a class',
    });
  }
  if (changes) refuseInSession(context);
  return withClients(context, async ({ audit }) => {
    const { signal, terminal } = context;
    const { settings: now } = changes
      ? await audit.setAuditSettings({ payloads, retentionClass: options.keep ?? '' }, { signal })
      : await audit.getAuditSettings({}, { signal });
    if (now === undefined) throw new KontextError('KX_INTERNAL', 'the backend named no settings');
    const shown = describe(now);
    if (options.json) terminal.json(shown);
    else {
      terminal.out(`payloads  ${shown.payloads}`);
      terminal.out(
        `keep      ${shown.keep}, ${lasts(shown.classes.find(({ name }) => name === shown.keep))}`,
      );
      terminal.out(
        `changed   ${shown.changedAt === null ? 'never' : `${shown.changedAt} by ${shown.changedBy}`}`,
      );
      terminal.note(`classes: ${shown.classes.map((one) => `${one.name} (${lasts(one)})`).join(', ')}`);
    }
    return 0;
  });
}

const lasts = (one: { readonly days: number } | undefined): string =>
  one === undefined || one.days === 0 ? 'until they are erased' : `for ${one.days} days`;

const describe = ({ payloads, retentionClass, changedAt, changedBy, classes }: AuditSettings) => ({
  payloads: Object.keys(settingsByName).find((name) => settingsByName[name] === payloads) ?? 'summary',
  keep: retentionClass,
  changedAt: changedAt === undefined ? null : new Date(Number(changedAt.seconds) * 1000).toISOString(),
  changedBy: changedBy || null,
  classes: classes.map(({ name, days }) => ({ name, days })),
});

async function erase(context: Context, what: string, { reason, json }: ReasonOptions): Promise<number> {
  const target = targetOf(what);
  refuseInSession(context);
  return withClients(context, async ({ audit }: Clients) => {
    const answer = await audit.erasePayloads({ ...target, reason }, { signal: context.signal });
    const [erased, held] = [Number(answer.erased), Number(answer.held)];
    if (json) context.terminal.json({ erased, held });
    else {
      context.terminal.note(`erased ${count(erased)} of ${what}; headers, hashes and chains stay`);
      if (held > 0) context.terminal.warn(`left because they are held: ${count(held)}`);
    }
    return 0;
  });
}

function targetOf(what: string) {
  if (what.startsWith('evt_')) return { eventId: what };
  if (what.startsWith('ses_')) return { sessionId: what };
  if (what.startsWith('usr_')) return { userId: what };
  throw new KontextError('KX_USAGE', 'that cannot be erased', {
    why: 'it is no event (evt_…), session (ses_…) or user (usr_…)',
    hint: 'run `kontext audit tail` for ids of events, `kontext sessions ls` and `kontext members ls` for the others',
  });
}

async function hold(context: Context, sessionId: string, options: HoldOptions): Promise<number> {
  refuseInSession(context);
  const { reason, release = false, json = false } = options;
  return withClients(context, async ({ audit }: Clients) => {
    const request = { sessionId, hold: !release, reason };
    const payloads = Number((await audit.holdPayloads(request, { signal: context.signal })).payloads);
    if (json) context.terminal.json({ payloads });
    else if (release) context.terminal.note(`let go of ${count(payloads)} of ${sessionId}`);
    else context.terminal.note(`moved ${count(payloads)} of ${sessionId} to the hold; those to come follow`);
    return 0;
  });
}

const count = (payloads: number): string => `${payloads} ${payloads === 1 ? 'payload' : 'payloads'}`;
