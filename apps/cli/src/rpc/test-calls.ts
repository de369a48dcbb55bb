import { type DescMethodUnary, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import {
  ApprovalService,
  AuditService,
  CredentialService,
  PolicyService,
  SessionService,
} from '@kontext/protocol';
import { type CallOptions, type Calls, callPaths } from './calls.ts';

const services = [ApprovalService, AuditService, CredentialService, PolicyService, SessionService];

/** The method behind a call. */
export function methodOf(path: string): DescMethodUnary {
  const method = services
    .flatMap(({ methods, typeName }) => methods.filter(({ name }) => path === `${typeName}/${name}`))
    .at(0);
  if (method?.methodKind !== 'unary') throw new Error(`there is no unary method ${path}`);
  return method as DescMethodUnary;
}

/** Calls over a transport, such as a router in memory; the JSON is that of the wire. */
export function createTestCalls(transport: Transport): Calls {
  const make =
    (path: string) =>
    async (request: JsonValue, { signal, timeoutMs }: CallOptions = {}) => {
      const method = methodOf(path);
      const input = fromJson(method.input, request);
      const answer = await transport.unary(method, signal, timeoutMs, undefined, input);
      return toJson(method.output, answer.message);
    };
  return Object.fromEntries(
    Object.entries(callPaths).map(([name, path]) => [name, make(path)]),
  ) as unknown as Calls;
}
