/**
 * The calls a session consists of, made with node's own HTTP client and JSON.
 *
 * A person waits for their agent while the first of them run, and loading Connect, Protobuf and the descriptors takes longer
 * than the calls do. On the wire this is the Connect protocol for unary calls (its "Unary-Request"), typed by the JSON
 * types that are generated from `proto/`. Everything else, and every error, goes through Connect itself.
 */
import { KontextError } from '@kontext/errors';
import type {
  AppendEventsRequestJson,
  AppendEventsResponseJson,
  AttenuateCredentialRequestJson,
  AttenuateCredentialResponseJson,
  EndSessionRequestJson,
  EndSessionResponseJson,
  GetCheckpointRequestJson,
  GetCheckpointResponseJson,
  GetConsistencyProofRequestJson,
  GetConsistencyProofResponseJson,
  GetInclusionProofRequestJson,
  GetInclusionProofResponseJson,
  GetPolicySnapshotRequestJson,
  GetPolicySnapshotResponseJson,
  HeartbeatSessionRequestJson,
  HeartbeatSessionResponseJson,
  OpenSessionRequestJson,
  OpenSessionResponseJson,
  ReadStreamRequestJson,
  ReadStreamResponseJson,
  RenewCredentialsRequestJson,
  RenewCredentialsResponseJson,
  RequestApprovalRequestJson,
  RequestApprovalResponseJson,
  ResolveCredentialsRequestJson,
  ResolveCredentialsResponseJson,
  WaitApprovalRequestJson,
  WaitApprovalResponseJson,
} from '@kontext/protocol';
import { Interrupted } from '../interrupted.ts';
import type { Log } from '../log.ts';
import type { CallSigner, ProofHeaders } from './call-signer.ts';
import type { BackendAgent } from './http-agent.ts';
import { type Answer, request } from './request.ts';
import type { ServerClock } from './server-clock.ts';

/** How long a call may take, and what ends it early. */
export interface CallOptions {
  /** Default 30 s, sensible 1 s to 120 s: resolving may wait for a provider. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

type Call<Request, Response> = (request: Request, options?: CallOptions) => Promise<Response>;

/** The calls; each throws KontextError as the backend answers, or `Interrupted`. */
export interface Calls {
  readonly openSession: Call<OpenSessionRequestJson, OpenSessionResponseJson>;
  readonly heartbeatSession: Call<HeartbeatSessionRequestJson, HeartbeatSessionResponseJson>;
  readonly endSession: Call<EndSessionRequestJson, EndSessionResponseJson>;
  readonly resolveCredentials: Call<ResolveCredentialsRequestJson, ResolveCredentialsResponseJson>;
  readonly renewCredentials: Call<RenewCredentialsRequestJson, RenewCredentialsResponseJson>;
  readonly attenuateCredential: Call<AttenuateCredentialRequestJson, AttenuateCredentialResponseJson>;
  readonly getPolicySnapshot: Call<GetPolicySnapshotRequestJson, GetPolicySnapshotResponseJson>;
  readonly appendEvents: Call<AppendEventsRequestJson, AppendEventsResponseJson>;
  readonly getCheckpoint: Call<GetCheckpointRequestJson, GetCheckpointResponseJson>;
  readonly getConsistencyProof: Call<GetConsistencyProofRequestJson, GetConsistencyProofResponseJson>;
  readonly getInclusionProof: Call<GetInclusionProofRequestJson, GetInclusionProofResponseJson>;
  readonly readStream: Call<ReadStreamRequestJson, ReadStreamResponseJson>;
  readonly requestApproval: Call<RequestApprovalRequestJson, RequestApprovalResponseJson>;
  readonly waitApproval: Call<WaitApprovalRequestJson, WaitApprovalResponseJson>;
}

/** Service and method of each call. */
export const callPaths: Readonly<Record<keyof Calls, string>> = {
  openSession: 'kontext.v1.SessionService/OpenSession',
  heartbeatSession: 'kontext.v1.SessionService/HeartbeatSession',
  endSession: 'kontext.v1.SessionService/EndSession',
  resolveCredentials: 'kontext.v1.CredentialService/ResolveCredentials',
  renewCredentials: 'kontext.v1.CredentialService/RenewCredentials',
  attenuateCredential: 'kontext.v1.CredentialService/AttenuateCredential',
  getPolicySnapshot: 'kontext.v1.PolicyService/GetPolicySnapshot',
  appendEvents: 'kontext.v1.AuditService/AppendEvents',
  getCheckpoint: 'kontext.v1.AuditService/GetCheckpoint',
  getConsistencyProof: 'kontext.v1.AuditService/GetConsistencyProof',
  getInclusionProof: 'kontext.v1.AuditService/GetInclusionProof',
  readStream: 'kontext.v1.AuditService/ReadStream',
  requestApproval: 'kontext.v1.ApprovalService/RequestApproval',
  waitApproval: 'kontext.v1.ApprovalService/WaitApproval',
};

/** What calls are made with. */
export interface CallsOptions {
  readonly apiUrl: string;
  readonly agent: BackendAgent['agent'];
  readonly signer: CallSigner;
  readonly clock: Readonly<ServerClock>;
  readonly log: Log;
}

/** Default 30 s for a call. */
export const callTimeoutMs = 30_000;
/** 10,000 resolved placeholders. */
const maxAnswerBytes = 64 * 1024 * 1024;

/** Makes the calls; nothing is sent before the first one. */
export function createCalls(options: CallsOptions): Calls {
  const make =
    (path: string) =>
    (body: unknown, call: CallOptions = {}) =>
      callOnce(options, path, body, call);
  const calls = Object.entries(callPaths).map(([name, path]) => [name, make(path)]);
  return Object.fromEntries(calls) as unknown as Calls;
}

/** An answer that is no success, carried to where it is explained. */
class RefusedCall extends Error {
  readonly answer: Answer;
  readonly code: string | undefined;
  constructor(answer: Answer, code: string | undefined) {
    super('refused');
    this.answer = answer;
    this.code = code;
  }
}

async function callOnce(
  options: CallsOptions,
  path: string,
  body: unknown,
  call: CallOptions,
): Promise<unknown> {
  const { apiUrl, signer, log } = options;
  const startedAt = performance.now();
  const url = `${apiUrl}/${path}`;
  const done = (outcome: string) =>
    log(`rpc ${path} ${outcome} ${Math.round(performance.now() - startedAt)} ms`);
  try {
    const answer = await signer.send({
      method: 'POST',
      url,
      mayRepeat: true,
      codeOf: (error) => (error instanceof RefusedCall ? error.code : undefined),
      send: (headers) => post(options, url, headers, body, call),
    });
    done('ok');
    return answer;
  } catch (error) {
    const explained = error instanceof RefusedCall ? await explain(options, error.answer) : error;
    done(explained instanceof KontextError ? explained.code : 'failed');
    throw explained;
  }
}

async function post(
  { agent, signer }: CallsOptions,
  url: string,
  proof: ProofHeaders,
  json: unknown,
  { timeoutMs = callTimeoutMs, signal }: CallOptions,
): Promise<unknown> {
  const headers = { ...proof, 'connect-protocol-version': '1', 'connect-timeout-ms': String(timeoutMs) };
  const limits = { timeoutMs, maxAnswerBytes, ...(signal === undefined ? {} : { signal }) };
  const answer = await request({ method: 'POST', url, agent, json, headers, ...limits }).catch(
    (error: unknown) => {
      throw signal?.aborted === true ? new Interrupted() : error;
    },
  );
  signer.listen((name) => {
    const value = answer.headers[name];
    return typeof value === 'string' ? value : undefined;
  });
  if (answer.status === 200 && answer.json !== null) return answer.json;
  const { wireErrorCode } = await import('./wire-error.ts');
  throw new RefusedCall(answer, wireErrorCode(answer));
}

async function explain({ apiUrl, clock }: CallsOptions, answer: Answer): Promise<Error> {
  const { wireError } = await import('./wire-error.ts');
  return wireError(answer, apiUrl, clock);
}
