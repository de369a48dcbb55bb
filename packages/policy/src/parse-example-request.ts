/** Examples that are about no call: the use of a credential, and the start of a session. */
import {
  type Fail,
  instant,
  type Members,
  oneOf,
  onlyKnown,
  record,
  string,
  strings,
} from './read-members.ts';
import type { CredentialUse, SessionStart } from './session-request.ts';

const exampleUser = 'usr_example';
/** A working day at noon, where an example does not say. */
export const exampleInstant = '2026-01-07T12:00:00Z';

const personMembers = ['groups', 'role', 'at'];
const useMembers = ['provider', 'providerKind', 'agent', 'session', 'target', 'scopes', ...personMembers];
const startMembers = ['agent', 'agentVersion', 'hostname', 'mode', ...personMembers];

/** Reads the member `credential_use`; what is missing has a default. */
export function parseExampleUse(value: unknown, place: string, fail: Fail): CredentialUse {
  const use = record(value, place, fail);
  onlyKnown(use, useMembers, place, fail);
  const text = (name: string, byDefault: string) => textOr(use, name, byDefault, place, fail);
  return {
    ...parsePerson(use, place, fail),
    provider: string(use.provider, `${place}.provider`, fail),
    providerKind: text('providerKind', 'oauth'),
    agent: text('agent', 'claude'),
    session: text('session', 'ses_example'),
    target: text('target', ''),
    scopes: use.scopes === undefined ? [] : strings(use.scopes, `${place}.scopes`, fail),
  };
}

/** Reads the member `session_start`; what is missing has a default. */
export function parseExampleStart(value: unknown, place: string, fail: Fail): SessionStart {
  const start = record(value, place, fail);
  onlyKnown(start, startMembers, place, fail);
  const text = (name: string, byDefault: string) => textOr(start, name, byDefault, place, fail);
  return {
    ...parsePerson(start, place, fail),
    agent: text('agent', 'claude'),
    agentVersion: text('agentVersion', ''),
    hostname: text('hostname', ''),
    mode: oneOf(start.mode ?? 'observe', ['observe', 'enforce'] as const, `${place}.mode`, fail),
  };
}

function parsePerson(value: Members, place: string, fail: Fail) {
  return {
    user: exampleUser,
    groups: value.groups === undefined ? [] : strings(value.groups, `${place}.groups`, fail),
    role: textOr(value, 'role', 'member', place, fail),
    atMs: Date.parse(instant(value.at ?? exampleInstant, `${place}.at`, fail)),
  };
}

/** An empty text is said in full: outside of any session the agent is `""`. */
function textOr(value: Members, name: string, byDefault: string, place: string, fail: Fail): string {
  const text = value[name];
  if (text === undefined) return byDefault;
  return typeof text === 'string' ? text : fail(`${place}.${name}`, 'it must be a text');
}
