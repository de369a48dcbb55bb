import type { EnvTemplate, PlaceholderRef } from '@kontext/env-template';
import { listPlaceholders } from '@kontext/env-template';
import { type ErrorCode, KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import type { Backend } from '../rpc/open-backend.ts';
import {
  type PlaceholderFailure,
  type ResolvedPlaceholders,
  resolvePlaceholders,
} from './resolve-placeholders.ts';

/** What to resolve, and how to go on when something is missing. */
export interface ResolveOrAskRequest {
  readonly context: Context;
  readonly backend: Pick<Backend, 'calls' | 'connect'>;
  readonly sessionId: string;
  readonly template: EnvTemplate;
  /** `--allow-missing`: go on without what cannot be resolved. */
  readonly allowMissing: boolean;
}

/**
 * Resolves all placeholders of a template in one batch. For what is missing it offers, in a terminal, to connect it
 * (Enter) or to go on without it (`s`); without a terminal it lists everything that is missing with its link.
 *
 * @returns What was resolved, and the failures a person or `--allow-missing` accepted.
 * @throws KontextError with the code of the first failure (77 for what a person has to settle) when one remains.
 */
export async function resolveOrAsk(request: ResolveOrAskRequest): Promise<ResolvedPlaceholders> {
  const { backend, context, sessionId } = request;
  const resolve = (placeholders: readonly PlaceholderRef[]) =>
    resolvePlaceholders(backend.calls, { sessionId, placeholders, signal: context.signal });
  let result = await resolve(listPlaceholders(request.template.entries));
  if (result.failures.length === 0) return result;
  listFailures(context, result.failures);
  if (request.allowMissing) return result;
  if (!context.terminal.interactive) throw missingError(result.failures);
  const skipped: PlaceholderFailure[] = [];
  for (let queue = result.failures; queue.length > 0; ) {
    const retry = await askEach(request, queue, skipped);
    const again = await resolve(retry);
    result = {
      credentials: new Map([...result.credentials, ...again.credentials]),
      failures: again.failures,
      serverEventHash: retry.length > 0 ? again.serverEventHash : result.serverEventHash,
    };
    queue = again.failures;
  }
  return { ...result, failures: skipped };
}

/** Asks once per provider and resource; returns the placeholders worth another try. */
async function askEach(
  request: ResolveOrAskRequest,
  failures: readonly PlaceholderFailure[],
  skipped: PlaceholderFailure[],
): Promise<PlaceholderRef[]> {
  const retry: PlaceholderRef[] = [];
  const answers = new Map<string, boolean>();
  for (const failure of failures) {
    const { placeholder } = failure;
    const place = placeOf(placeholder);
    const connected = answers.get(place) ?? (await askOne(request, failure));
    answers.set(place, connected);
    if (connected) retry.push(placeholder);
    else skipped.push(failure);
  }
  return retry;
}

/** @returns True when another try makes sense, false when the person goes on without. */
async function askOne(
  { context, backend }: ResolveOrAskRequest,
  failure: PlaceholderFailure,
): Promise<boolean> {
  const { terminal, config, signal } = context;
  const { provider, resource, scopes } = failure.placeholder;
  const place = placeOf(failure.placeholder);
  // Connecting again is also how a connection gets a scope that it lacks.
  const connects = failure.connectUri !== null || failure.code === 'KX_SCOPE_EXCEEDED';
  const verb = connects ? `connect ${provider}` : 'try again';
  for (;;) {
    const answer = await terminal.ask(`${place} is missing. Enter: ${verb}, s: go on without it`, signal);
    if (/^s(kip)?$/i.test(answer)) return false;
    if (answer !== '') continue;
    if (!connects) return true;
    const { beginConnection } = await import('./connect-provider.ts');
    const clients = await backend.connect();
    const target = { provider, name: resource, scopes, addScopes: true };
    const connection = { clients, config, terminal, ...target, browser: true, signal };
    try {
      await (await beginConnection(connection)).wait();
    } catch (error) {
      // The provider was added without that scope, or the link ran out: another try, or going on without, is left.
      if (!(error instanceof KontextError) || !mendable.has(error.code)) throw error;
      terminal.warn(`${error.message}: ${error.why} (${error.code}); ${error.hint}`);
      continue;
    }
    terminal.note(`${provider} is connected`);
    return true;
  }
}

/** What connecting can fail with that the person at the terminal may get past. */
const mendable: ReadonlySet<ErrorCode> = new Set([
  'KX_SCOPE_EXCEEDED',
  'KX_CONNECT_LINK_EXPIRED',
  'KX_CONNECT_FAILED',
]);

/** The placeholder as a person wrote it, without its query. */
const placeOf = ({ provider, resource }: PlaceholderRef): string =>
  resource === '' ? provider : `${provider}/${resource}`;

function listFailures({ terminal }: Context, failures: readonly PlaceholderFailure[]): void {
  for (const { placeholder, message, hint, code, connectUri } of failures) {
    terminal.warn(
      `${placeOf(placeholder)} (line ${placeholder.line}): ${message} (${code}); ${connectUri ?? hint}`,
    );
  }
}

/** Trouble that may pass decides only when there is no other: what a person has to settle comes first. */
function missingError(failures: readonly PlaceholderFailure[]): KontextError {
  const errors = failures.map((f) => new KontextError(f.code, f.message, { hint: f.hint }));
  const first =
    errors.find((e) => e.spec.exitCode === 77) ?? errors.find((e) => e.spec.exitCode !== 75) ?? errors[0];
  if (failures.length === 1 && first) return first;
  const names = [...new Set(failures.map(({ placeholder }) => placeholder.provider))];
  return new KontextError(
    first?.code ?? 'KX_CONNECTION_MISSING',
    `${failures.length} placeholders have no credential`,
    {
      why: `not available: ${names.join(', ')}`,
      hint: 'follow the links above, or pass --allow-missing to go on without',
    },
  );
}
