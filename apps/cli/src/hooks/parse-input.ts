import type { HookRequest } from './frames.ts';

/** Deepest nesting that is read; beyond it a value is opaque. */
export const maxDepth = 64;

/** What stdin held. */
export type ParsedInput =
  | { readonly ok: true; readonly value: unknown }
  /** Why it cannot be read, in words for the record and the agent. */
  | { readonly ok: false; readonly why: string };

/**
 * Reads a hook's stdin as JSON, whole or not at all: a clipped call could hide its command behind padding.
 */
export function parseInput(request: Pick<HookRequest, 'head' | 'trueLength'>): ParsedInput {
  if (request.trueLength > request.head.length) return { ok: false, why: 'it is over 1 MiB' };
  if (request.trueLength === 0) return { ok: false, why: 'it is empty' };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(request.head));
  } catch (error) {
    return { ok: false, why: error instanceof SyntaxError ? 'it is not JSON' : 'it is not UTF-8' };
  }
  if (isDeeperThan(value, maxDepth)) return { ok: false, why: `it is nested deeper than ${maxDepth}` };
  return { ok: true, value };
}

/** Walks with a stack of its own: a recursive walk would fall to the very input it is to refuse. */
export function isDeeperThan(root: unknown, limit: number): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth += 1) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      if (depth >= limit) return true;
      for (const member of Array.isArray(value) ? value : Object.values(value)) next.push(member);
    }
    level = next;
  }
  return false;
}
