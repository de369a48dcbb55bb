import {
  createCallReader,
  createPolicyEngine,
  type Mode,
  type PolicyEngine,
  type PolicyText,
} from '@kontext/policy';
import { createRedactor, Secret } from '@kontext/redaction';
import { claude } from '../agents/claude.ts';
import { createActivePolicy } from './active-policy.ts';
import { createHookHandler, type HookHandler } from './decide-and-record.ts';
import { type EventSink, type IntentFields, leftOut } from './event-sink.ts';
import type { HookReply, HookRequest } from './frames.ts';
import type { HookHandlerOptions } from './hook-room.ts';

/** The real ones, loaded once. */
const engine = await createPolicyEngine();
const reader = await createCallReader();

/** One rule of each effect, by words of the command. */
const rules: readonly PolicyText[] = [
  {
    id: 'test.delete',
    text: `@id("test.delete") @reason("deletes recursively")
      forbid (principal, action == Action::"tool_call", resource) when { context.command like "*rm -rf*" };`,
  },
  {
    id: 'test.push',
    text: `@id("test.push") @effect("ask") @reason("pushes")
      forbid (principal, action == Action::"tool_call", resource) when { context.command like "*git push*" };`,
  },
  {
    id: 'test.publish',
    text: `@id("test.publish") @effect("ask") @reason("publishes") @approver("security") @four_eyes("yes")
      forbid (principal, action == Action::"tool_call", resource) when { context.command like "*npm publish*" };`,
  },
  {
    id: 'test.server',
    text: `@id("test.server") @reason("nobody knows this server")
      forbid (principal, action == Action::"tool_call", resource is McpTool) when { resource.server == "unknown" };`,
  },
];

/** Keeps events in a list, as the spool would keep them in files. */
function createListSink() {
  const log: string[] = [];
  const events: { fields: IntentFields; payload: string | null }[] = [];
  const sink = {
    full: false,
    broken: false,
    intend(fields: IntentFields) {
      if (sink.full || sink.broken) return null;
      log.push(`intent ${fields.kind}`);
      return (payload: string | null | typeof leftOut) => {
        log.push(`record ${fields.kind}`);
        events.push({ fields, payload: payload === leftOut ? 'left out' : payload });
      };
    },
  };
  return { sink: sink as EventSink & { full: boolean; broken: boolean }, log, events };
}

/** What a test says about its handler. */
export interface Setup {
  readonly mode?: Mode;
  readonly floor?: Mode | null;
  readonly policies?: readonly PolicyText[];
  readonly secrets?: readonly string[];
  readonly createEngine?: () => Promise<PolicyEngine>;
  readonly more?: Partial<HookHandlerOptions>;
}

/** A handler over the real engine and reader, with a list for a spool. */
export function setUp({
  mode = 'enforce',
  floor = null,
  policies = rules,
  secrets = [],
  createEngine,
  more = {},
}: Setup = {}) {
  const list = createListSink();
  const seen: string[] = [];
  const handler = createHookHandler({
    agent: claude,
    actor: { user: 'usr_1', org: 'org_1', session: 'ses_1', groups: [], role: 'member' },
    redactor: createRedactor(secrets.map((secret) => new Secret(secret))),
    policy: createActivePolicy({ version: 7, mode, policies }, floor, createEngine ?? (async () => engine)),
    sink: list.sink,
    loadReader: async () => reader,
    onEvent: (event) => seen.push(event),
    ...more,
  });
  return { handler, seen, ...list };
}

/** A request of a hook. */
export function request(event: string, value: unknown, more: Partial<HookRequest> = {}): HookRequest {
  const head = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  const empty = new Uint8Array();
  return {
    kind: 'hook',
    key: empty,
    agent: 'claude',
    event,
    trueLength: head.length,
    head,
    tail: empty,
    ...more,
  };
}

/** One of the events of a Bash call. */
export const call = (event: string, command: string, more: object = {}) =>
  request(event, {
    hook_event_name: event,
    session_id: 's',
    cwd: '/w',
    permission_mode: 'default',
    tool_name: 'Bash',
    tool_input: { command },
    tool_use_id: 'toolu_1',
    ...more,
  });

/** Exit code, stdout, stderr. */
export const said = ({ exitCode, stdout, stderr }: HookReply): [number, string, string] => [
  exitCode,
  stdout.toString(),
  stderr.toString(),
];
/** Silence. */
export const nothing = [0, '', ''];

/** Handles, and has the record written. */
export async function handle(handler: HookHandler, hook: HookRequest): Promise<[number, string, string]> {
  const reply = await handler.handleHook(hook);
  handler.settle();
  return said(reply);
}
