import { createAppendSignal } from '../audit/append-signal.ts';
import { createConnectionService } from '../connections/connection-service.ts';
import { testKms } from '../organisations/test-organisation.ts';
import { createPolicyService } from '../policies/policy-service.ts';
import type { MinterDeps, MintersByKind } from '../providers/minted/minter.ts';
import { createMintersByKind } from '../providers/minted/minters-by-kind.ts';
import { testMinterDeps } from '../providers/minted/test-target.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import { createSessionService } from '../sessions/session-service.ts';
import type { Store } from '../store/store.ts';
import { createCredentialService } from './credential-service.ts';
import { createUpstreamRevocations } from './upstream-revocation.ts';

const apiUrl = 'http://127.0.0.1:4180';

/** How one backend process of a test differs from the others. */
export interface TestBackendOptions {
  readonly store: Store;
  readonly nowMs: () => number;
  readonly minters?: MintersByKind;
  readonly signAssertion?: MinterDeps['signAssertion'];
  readonly afterFetch?: () => Promise<void>;
}

/** One backend process, as far as minted credentials go; several may share a store. */
export function createMintingBackend({ store, nowMs, afterFetch, ...options }: TestBackendOptions) {
  const fetch = createSafeFetch({ allowLoopback: true });
  const { signAssertion } = options;
  const minters =
    options.minters ??
    createMintersByKind(testMinterDeps({ nowMs, fetch, ...(signAssertion ? { signAssertion } : {}) }));
  const deps = {
    ...{ store, refreshStore: store, kms: testKms, nowMs, apiUrl, local: true, fetch, minters },
    ...{ appended: createAppendSignal(), issuer: `${apiUrl}/oauth` },
    keys: { publicJwks: { keys: [] }, signing: [] },
    approvalKey: Buffer.alloc(32, 9),
    callers: { load: async () => null, recordProof: async () => true, isTokenLive: async () => true },
    onLeasesEnded: () => undefined,
    removePatienceMs: 1_000,
    ...(afterFetch ? { afterFetch } : {}),
  };
  const connections = createConnectionService(deps);
  const logger = { error: () => undefined } as never;
  return {
    connections,
    credentials: createCredentialService({ ...deps, tokens: connections.tokens }),
    revocations: createUpstreamRevocations({ ...deps, logger, random: () => 0 }),
    sessions: createSessionService({
      ...{ store, appended: deps.appended, nowMs },
      policies: createPolicyService({ store, kms: testKms, nowMs }),
    }),
  };
}

/** See {@link createMintingBackend}. */
export type MintingBackend = ReturnType<typeof createMintingBackend>;
