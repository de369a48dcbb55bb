import { type EnvTemplate, listPlaceholders } from '@kontext/env-template';
import type { Secret } from '@kontext/redaction';
import type { HookReply, HookRequest } from '../hooks/frames.ts';
import { type AttenuateRequest, createCredentialServer } from '../hooks/serve-credentials.ts';
import type { Calls } from '../rpc/calls.ts';
import type { Spool } from '../spool/spool.ts';
import { createHeldCredentials } from './held-credentials.ts';
import { createRenewals, type Renewals } from './renew-credentials.ts';
import { type ResolvedCredential, toCredential } from './resolve-placeholders.ts';

/** What the credentials of a session are made of. */
export interface SessionCredentialsOptions {
  readonly calls: Pick<Calls, 'renewCredentials' | 'attenuateCredential'>;
  readonly sessionId: string;
  readonly template: EnvTemplate;
  /** Adds a value to what is searched for in everything that is stored. */
  readonly hide: (values: readonly Secret[]) => void;
}

/** The credentials of a running session: held, renewed, handed to programs inside. */
export interface SessionCredentials {
  readonly renewals: Renewals;
  /** Takes what was resolved at the start; its values are hidden already. */
  hold(credentials: ReadonlyMap<string, ResolvedCredential>): void;
  forget(): void;
  handle(request: HookRequest, spool: Spool): Promise<HookReply>;
}

/** Puts holder, renewals and socket end together. */
export function createSessionCredentials(options: SessionCredentialsOptions): SessionCredentials {
  const { calls, sessionId, template, hide } = options;
  const held = createHeldCredentials();
  let spool: Spool | null = null;
  const onServerEvent = (hash: Uint8Array): void => spool?.noteServerEvent(hash);
  const renewals = createRenewals({ calls, sessionId, held, hide, onServerEvent });
  const names = namesByKey(template);
  const mentions = mentionsByKey(template);
  const attenuate = async (asked: AttenuateRequest) => {
    const request = { ...asked, sessionId, scopes: [...asked.scopes] };
    const { credential = {}, serverEventHash = '' } = await calls.attenuateCredential(request);
    const narrowed = toCredential(credential);
    hide([narrowed.value]);
    if (serverEventHash !== '') onServerEvent(Buffer.from(serverEventHash, 'base64'));
    const { kind, leaseId, scopes, expiresInSeconds, value } = narrowed;
    return { kind, leaseId, scopes, expiresIn: expiresInSeconds, value: value.reveal() };
  };
  let serve: ((request: HookRequest) => Promise<HookReply>) | undefined;
  return {
    renewals,
    hold(credentials) {
      for (const placeholder of listPlaceholders(template.entries)) {
        const credential = credentials.get(placeholder.key);
        if (credential !== undefined) held.put(placeholder, credential);
      }
    },
    forget: () => held.clear(),
    handle(request, sink) {
      spool = sink;
      serve ??= createCredentialServer({
        ...{ held, renewals, sink, attenuate },
        namesOf: (key) => names.get(key) ?? [],
        mentionsOf: (key) => mentions.get(key) ?? [],
      });
      return serve(request);
    },
  };
}

/** Variables that hold one placeholder and nothing else, by its key. */
function namesByKey({ entries }: EnvTemplate): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const { name, parts } of entries) {
    const [part, ...more] = parts.filter((one) => one !== '');
    if (part === undefined || typeof part === 'string' || more.length > 0) continue;
    names.set(part.key, [...(names.get(part.key) ?? []), name]);
  }
  return names;
}

/** Variables in which a placeholder stands, alone or among other text, by its key. */
function mentionsByKey({ entries }: EnvTemplate): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const { name, parts } of entries) {
    for (const part of parts) {
      if (typeof part !== 'string') names.set(part.key, [...(names.get(part.key) ?? []), name]);
    }
  }
  return names;
}
