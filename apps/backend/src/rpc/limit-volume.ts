import type { Interceptor } from '@connectrpc/connect';
import type { VolumeKind } from '../limits.ts';
import type { VolumeLimiter } from '../login/volume-limits.ts';
import { callerKey } from './authenticate.ts';
import { type RpcName, rpcNameOf } from './permissions.ts';

/** What is not counted as a plain call. */
const kinds: Readonly<Partial<Record<RpcName, VolumeKind>>> = {
  'AuditService/AppendEvents': 'events',
  'CredentialService/ResolveCredentials': 'exchange',
  'CredentialService/RenewCredentials': 'exchange',
  'CredentialService/AttenuateCredential': 'exchange',
};

/**
 * The interceptor behind authentication that counts what each person and organisation asks for.
 *
 * @throws KontextError `KX_RATE_LIMITED` with the seconds to wait.
 */
export function createVolumeCheck(volume: VolumeLimiter): Interceptor {
  return (next) => (request) => {
    const caller = request.contextValues.get(callerKey);
    if (caller) volume.countCall(kinds[rpcNameOf(request.method) as RpcName] ?? 'rpc', caller);
    return next(request);
  };
}
