import { createHmac, randomBytes } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

/** Names calls by hashes under a key that never leaves this process: the backend can compare calls and not guess them. */
export interface CallHashes {
  /** Of the exact call as the agent made it, unredacted; 32 bytes. */
  exact(call: { readonly tool: string | null; readonly input: unknown; readonly cwd: string | null }): Buffer;
  /** Of calls of one shape that one rule asks about; 32 bytes. */
  shape(rule: string, shape: string): Buffer;
}

/** Makes a key and what hashes under it. */
export function createCallHashes(): CallHashes {
  const key = randomBytes(32);
  const hash = (value: unknown): Buffer => createHmac('sha256', key).update(canonicalJson(value)).digest();
  return {
    exact: ({ tool, input, cwd }) => hash({ tool, input, cwd }),
    shape: (rule, shape) => hash({ rule, shape }),
  };
}
