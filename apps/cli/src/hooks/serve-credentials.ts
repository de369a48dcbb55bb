/**
 * The socket's requests of kind *credential*: gives programs inside a session its own credentials, the newest of each.
 *
 * Request: event `credential` or `attenuate`, stdin one JSON object with `v: 1`. Reply: stdout one JSON object with `v: 1`, exit 0;
 * or exit 1 with `error: {code, message, why, hint}`. Only placeholders of this session are served, whatever is asked for; each
 * hand-out is recorded with its lease, never with its value.
 */
import { type ErrorCode, KontextError } from '@kontext/errors';
import type { HeldCredential, HeldCredentials } from '../session/held-credentials.ts';
import type { Renewals } from '../session/renew-credentials.ts';
import type { EventSink } from './event-sink.ts';
import type { HookReply, HookRequest } from './frames.ts';
import { textReply } from './text-reply.ts';

/** A credential as a program inside the session gets it. */
export interface ServedCredential {
  readonly provider: string;
  readonly resource: string;
  /** Variables of the env template that hold nothing but this credential. */
  readonly names: readonly string[];
  /** Variables in which it stands, alone or among other text. */
  readonly mentions: readonly string[];
  readonly value: string;
  readonly kind: string;
  readonly leaseId: string;
  readonly scopes: readonly string[];
  /** Whole seconds left; null: it does not expire. */
  readonly expiresIn: number | null;
  /** User name for git; null where it opens no repository. */
  readonly gitUser: string | null;
}

/** What an attenuation asks for. */
export interface AttenuateRequest {
  readonly leaseId: string;
  readonly scopes: readonly string[];
  readonly ttlSeconds: number;
}

/** What serving needs. */
export interface CredentialServerOptions {
  readonly held: HeldCredentials;
  readonly renewals: Pick<Renewals, 'renewNow' | 'trouble'>;
  /** Variables of the env template that hold one placeholder alone, by its key. */
  readonly namesOf: (key: string) => readonly string[];
  /** Variables of the env template in which a placeholder stands, by its key. */
  readonly mentionsOf: (key: string) => readonly string[];
  readonly sink: Pick<EventSink, 'intend'>;
  /** Narrows a credential at the backend; its value is hidden from what is recorded before this returns. */
  readonly attenuate: (
    request: AttenuateRequest,
  ) => Promise<Pick<ServedCredential, 'kind' | 'leaseId' | 'scopes' | 'expiresIn' | 'value'>>;
  /** Default `performance.now`. */
  readonly nowMs?: () => number;
}

/** Requests at once, and per second after that. */
const [burst, perSecond] = [30, 5];

/** Makes the handler of `HookServerOptions.handleCredential`; it never throws. */
export function createCredentialServer(
  options: CredentialServerOptions,
): (request: HookRequest) => Promise<HookReply> {
  const { nowMs = () => performance.now() } = options;
  let [tokens, at] = [burst, nowMs()];
  const takeTurn = (): void => {
    tokens = Math.min(burst, tokens + ((nowMs() - at) / 1000) * perSecond);
    at = nowMs();
    if (tokens < 1) throw new KontextError('KX_RATE_LIMITED', 'too many requests for credentials');
    tokens -= 1;
  };
  // Leases that were narrowed before, by what they were narrowed from: those can be narrowed further.
  const narrowed: Narrowed = new Map();
  return async (request) => {
    try {
      takeTurn();
      const asked = parseRequest(request);
      const answer =
        request.event === 'attenuate' ? await narrow(options, asked, narrowed) : await serve(options, asked);
      return textReply(0, `${JSON.stringify({ v: 1, ...answer })}\n`, '');
    } catch (error) {
      return errorReply(error);
    }
  };
}

function errorReply(error: unknown): HookReply {
  const known =
    error instanceof KontextError ? error : new KontextError('KX_INTERNAL', 'the session could not answer');
  const { code, message, why, hint } = known;
  return textReply(1, `${JSON.stringify({ v: 1, error: { code, message, why, hint } })}\n`, '');
}

type Asked = Readonly<Record<string, unknown>>;

function parseRequest({ event, head, trueLength }: HookRequest): Asked {
  if (event !== 'credential' && event !== 'attenuate') throw invalid('the event is unknown');
  if (trueLength !== head.length || head.length > 65_536) throw invalid('it is too long');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(head).toString('utf8'));
  } catch {
    throw invalid('it is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('it is not an object');
  const asked = value as Asked;
  if (asked.v !== 1) throw invalid('it has another version');
  return asked;
}

const invalid = (why: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the request for a credential cannot be used', { why });

const text = (asked: Asked, name: string): string => {
  const value = asked[name] ?? '';
  if (typeof value !== 'string') throw invalid(`${name} is not a text`);
  return value;
};

/** `op`: `list` without values, `get` by provider and resource, `git` by host. */
async function serve(
  options: CredentialServerOptions,
  asked: Asked,
): Promise<{ readonly credentials: readonly Partial<ServedCredential>[] }> {
  const all = options.held.list();
  switch (asked.op) {
    case 'list':
      return { credentials: all.map((one) => ({ ...describe(options, one), value: '' })) };
    case 'get':
      return hand(options, pick(all, text(asked, 'provider'), text(asked, 'resource')));
    case 'git':
      return hand(options, pickForGit(all, text(asked, 'host')));
    default:
      throw invalid('op is unknown');
  }
}

/** Those of a provider; of several resources one must be named, of several values of one resource all are given. */
function pick(all: readonly HeldCredential[], provider: string, resource: string): readonly HeldCredential[] {
  const ofProvider = all.filter(({ placeholder }) => placeholder.provider === provider);
  const exact = ofProvider.filter(({ placeholder }) => placeholder.resource === resource);
  const within = ofProvider.filter(({ placeholder }) => placeholder.resource.startsWith(`${resource}/`));
  if (resource !== '') return required([...exact, ...within], `${provider}/${resource}`, all);
  if (ofProvider.length <= 1 || exact.length > 0)
    return required(exact.length > 0 ? exact : ofProvider, provider, all);
  const bases = new Set(ofProvider.map(({ placeholder }) => placeholder.resource.split('/', 1)[0]));
  if (bases.size === 1) return ofProvider;
  throw new KontextError('KX_CONNECTION_AMBIGUOUS', `the session holds several credentials of ${provider}`, {
    why: `name one of ${[...bases].map((base) => `${provider}/${base}`).join(', ')}`,
  });
}

/** Strict: the host must be one of the provider's own, to the letter and the port. */
function pickForGit(all: readonly HeldCredential[], host: string): readonly HeldCredential[] {
  const [first] = all.filter(({ credential }) => credential.git?.hosts.includes(host.toLowerCase()) ?? false);
  return required(first === undefined ? [] : [first], host, all);
}

function required(
  found: readonly HeldCredential[],
  what: string,
  all: readonly HeldCredential[],
): readonly HeldCredential[] {
  if (found.length > 0) return found;
  const names = new Set(
    all.map(({ placeholder: { provider, resource } }) =>
      resource === '' ? provider : `${provider}/${resource}`,
    ),
  );
  throw new KontextError(
    'KX_CREDENTIAL_NOT_IN_SESSION',
    `the session holds no credential for ${what.slice(0, 256)}`,
    {
      why: names.size === 0 ? 'it holds none' : `it holds ${[...names].join(', ')}`,
    },
  );
}

async function hand(
  options: CredentialServerOptions,
  wanted: readonly HeldCredential[],
): Promise<{ readonly credentials: readonly ServedCredential[] }> {
  const keys = wanted.map(({ placeholder }) => placeholder.key);
  if (!(await options.renewals.renewNow(keys))) throw overdue(options, wanted);
  const newest = keys.flatMap((key) => options.held.get(key) ?? []);
  for (const { placeholder, credential } of newest)
    note(options, 'credential', placeholder.provider, credential.leaseId);
  return {
    credentials: newest.map((one) => ({ ...describe(options, one), value: one.credential.value.reveal() })),
  };
}

/** Its time is over, and no successor came. */
function overdue({ renewals }: CredentialServerOptions, [first]: readonly HeldCredential[]): KontextError {
  const trouble = renewals.trouble();
  const provider = first?.placeholder.provider ?? '';
  const code: ErrorCode = trouble?.code ?? 'KX_LEASE_ENDED';
  return new KontextError(code, `the credential of ${provider} is over, and was not renewed`, {
    why:
      trouble === null
        ? 'it was taken back'
        : `${trouble.message}${trouble.why === '' ? '' : `: ${trouble.why}`}`,
    ...(trouble === null ? {} : { hint: trouble.hint }),
  });
}

/** Lease id to the key of its placeholder. */
type Narrowed = Map<string, string>;
/** A session narrows no more than this; what is beyond is forgotten, oldest first. */
const maxNarrowed = 10_000;

/** @param asked `leaseId`: a lease that was narrowed before, to be narrowed further; left out: the session's own. */
async function narrow(options: CredentialServerOptions, asked: Asked, narrowed: Narrowed) {
  const [one] = pick(options.held.list(), text(asked, 'provider'), text(asked, 'resource'));
  if (one === undefined) throw invalid('nothing is named');
  const { scopes, ttlSeconds } = asked;
  if (!Array.isArray(scopes) || !scopes.every((scope) => typeof scope === 'string'))
    throw invalid('scopes are not texts');
  if (ttlSeconds !== undefined && !Number.isSafeInteger(ttlSeconds))
    throw invalid('ttlSeconds is not a whole number');
  const above = text(asked, 'leaseId');
  if (above !== '' && narrowed.get(above) !== one.placeholder.key)
    throw new KontextError('KX_CREDENTIAL_NOT_IN_SESSION', 'the session has narrowed no such credential');
  if (above === '' && !(await options.renewals.renewNow([one.placeholder.key])))
    throw overdue(options, [one]);
  const newest = options.held.get(one.placeholder.key) ?? one;
  const leaseId = above === '' ? newest.credential.leaseId : above;
  const credential = await options.attenuate({ leaseId, scopes, ttlSeconds: Number(ttlSeconds ?? 0) });
  narrowed.set(credential.leaseId, one.placeholder.key);
  const oldest = narrowed.size > maxNarrowed ? narrowed.keys().next().value : undefined;
  if (oldest !== undefined) narrowed.delete(oldest);
  note(options, 'attenuate', one.placeholder.provider, credential.leaseId);
  return {
    credential: {
      ...credential,
      names: options.namesOf(one.placeholder.key),
      gitUser: one.credential.git?.user ?? null,
    },
  };
}

function describe(
  { namesOf, mentionsOf }: CredentialServerOptions,
  one: HeldCredential,
): Omit<ServedCredential, 'value'> {
  const { provider, resource, key } = one.placeholder;
  const { kind, leaseId, scopes, git } = one.credential;
  const leftMs = one.leftMs();
  return {
    ...{
      provider,
      resource,
      names: namesOf(key),
      mentions: mentionsOf(key),
      kind,
      leaseId,
      scopes,
      gitUser: git?.user ?? null,
    },
    expiresIn: leftMs === null ? null : Math.max(0, Math.floor(leftMs / 1000)),
  };
}

/** What is recorded names the lease, so that a call with the credential can be traced to who got it. */
function note({ sink }: CredentialServerOptions, event: string, provider: string, leaseId: string): void {
  sink.intend({ kind: 'agent.event' })?.(JSON.stringify({ schema: 1, event, provider, lease: leaseId }));
}
