/** What `kontext providers add` was given, as the backend wants it. */
import { KontextError } from '@kontext/errors';
import { ClientAuth, type Provider, ProviderKind } from '@kontext/protocol';
import { parseDuration } from './parse-duration.ts';

/** Flags of `kontext providers add`. */
export interface AddOptions {
  readonly from?: string;
  readonly static?: boolean;
  readonly issuer?: string;
  readonly clientId?: string;
  readonly authorizationEndpoint?: string;
  readonly tokenEndpoint?: string;
  readonly revocationEndpoint?: string;
  readonly scope?: readonly string[];
  readonly clientAuth?: keyof typeof clientAuths;
  readonly settings?: string;
  readonly setting?: readonly string[];
  readonly attach?: string;
  readonly maxLoginAge?: string;
  readonly approval?: boolean;
  readonly leaseTtl?: string;
  readonly secret?: boolean;
  readonly json?: boolean;
}

/** Methods of client authentication, as flags spell them. */
export const clientAuths = {
  basic: ClientAuth.SECRET_BASIC,
  post: ClientAuth.SECRET_POST,
  private_key_jwt: ClientAuth.PRIVATE_KEY_JWT,
  none: ClientAuth.NONE,
} as const;

/** A provider to add, and whether a secret has to be asked for. */
export interface WantedProvider {
  readonly provider: Omit<
    Provider,
    '$typeName' | '$unknown' | 'agents' | 'callbackUrl' | 'variables' | 'title'
  > & {
    readonly agents: { agent: string; scopes: string[] }[];
  };
  readonly needsSecret: boolean;
}

/**
 * Puts flags and catalogue together.
 *
 * @param entry The catalogue's entry of `--from`, or of the name where nothing else says what it is; null: none.
 * @throws KontextError `KX_USAGE` naming the flag that is missing or wrong.
 */
export function wantedProvider(name: string, options: AddOptions, entry: Provider | null): WantedProvider {
  const kind = options.static ? ProviderKind.STATIC : (entry?.kind ?? ProviderKind.OAUTH2);
  const isOAuth = kind === ProviderKind.OAUTH2;
  if (isOAuth) checkOAuth(options, entry);
  const clientAuth = isOAuth ? chooseClientAuth(options, entry) : ClientAuth.UNSPECIFIED;
  const provider = {
    ...{ name, kind, clientAuth, catalogueId: entry?.catalogueId ?? '', issuer: options.issuer ?? '' },
    authorizationEndpoint: options.authorizationEndpoint ?? '',
    tokenEndpoint: options.tokenEndpoint ?? '',
    revocationEndpoint: options.revocationEndpoint ?? '',
    ...{ clientId: options.clientId ?? '', scopes: [...(options.scope ?? [])] },
    ...{ settingsJson: settingsOf(options), agents: attachedOf(options.attach) },
    ...{ needsApproval: options.approval ?? false },
    maxLoginAgeSeconds: secondsOf(options.maxLoginAge, '--max-login-age'),
    leaseTtlSeconds: secondsOf(options.leaseTtl, '--lease-ttl'),
  };
  const hasSecret = isOAuth ? options.clientAuth !== 'none' : kind !== ProviderKind.STATIC;
  return { provider, needsSecret: hasSecret && options.secret !== false };
}

/** Whether the flags alone say what kind of provider it is, so that its name names no entry of the catalogue. */
export const describesItself = ({ static: isStatic, issuer, tokenEndpoint, from }: AddOptions): boolean =>
  from === undefined && (isStatic === true || issuer !== undefined || tokenEndpoint !== undefined);

function checkOAuth(options: AddOptions, entry: Provider | null): void {
  const need = (value: string | undefined, flag: string): void => {
    if (value) return;
    throw new KontextError('KX_USAGE', `${flag} is missing`, {
      why: 'an OAuth provider needs a client id, and two endpoints, an issuer or an entry of the catalogue',
      hint: 'give it, see `kontext providers catalogue`, or pass --static for a provider with a static key',
    });
  };
  need(options.clientId, '--client-id');
  if (entry !== null || options.issuer !== undefined) return;
  need(options.authorizationEndpoint, '--authorization-endpoint');
  need(options.tokenEndpoint, '--token-endpoint');
}

/** What is left open is the entry's, or what the issuer supports; with endpoints alone it is the one every server has. */
function chooseClientAuth({ clientAuth, issuer }: AddOptions, entry: Provider | null): ClientAuth {
  if (clientAuth !== undefined) return clientAuths[clientAuth];
  return entry !== null || issuer !== undefined ? ClientAuth.UNSPECIFIED : ClientAuth.SECRET_BASIC;
}

/** `--settings` is JSON; each `--setting name=value` adds a member, its value JSON or else a text. */
function settingsOf({ settings, setting = [] }: AddOptions): string {
  if (settings === undefined && setting.length === 0) return '';
  const all = parseJson(settings ?? '{}');
  if (typeof all !== 'object' || all === null || Array.isArray(all)) {
    throw new KontextError('KX_USAGE', '--settings is not a JSON object');
  }
  const members = setting.map((text): [string, unknown] => {
    const at = text.indexOf('=');
    if (at < 1) throw new KontextError('KX_USAGE', '--setting is not of the form name=value');
    const value = text.slice(at + 1);
    const parsed = parseJson(value);
    return [text.slice(0, at), parsed === undefined ? value : parsed];
  });
  return JSON.stringify({ ...all, ...Object.fromEntries(members) });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const attachedOf = (attach: string | undefined): { agent: string; scopes: string[] }[] =>
  (attach ?? '')
    .split(',')
    .map((agent) => agent.trim())
    .filter((agent) => agent !== '')
    .map((agent) => ({ agent, scopes: [] }));

const secondsOf = (text: string | undefined, flag: string): number =>
  text === undefined ? 0 : parseDuration(text, flag);
