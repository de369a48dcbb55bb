import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { AgentAdapter, HookWiring, LaunchPlan } from '../agents/agent.ts';

/** The settings file an agent is started with. */
export interface HookSettings {
  readonly path: string;
  /** Whether it still holds what was written. */
  isIntact(): boolean;
  /** Hash of the hook configuration as heartbeats tell it: that of the start, until the file is changed. */
  hash(): string;
}

/** Writes the file: mode 0400, never over what is there. */
export function writeHookSettings(
  path: string,
  adapter: AgentAdapter,
  plan: LaunchPlan,
  wiring: HookWiring,
): HookSettings {
  const settings = adapter.encodeSettings(plan, wiring);
  writeFileSync(path, settings, { mode: 0o400, flag: 'wx' });
  const intactHash = hashHookConfig(adapter, plan);
  const read = (): string | null => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  };
  return {
    path,
    isIntact: () => read() === settings,
    hash() {
      const text = read();
      return text === settings ? intactHash : sha256(`changed\n${text ?? ''}`);
    },
  };
}

/**
 * Hash of the hook configuration as the backend keeps it: of the settings without what differs from run to run.
 *
 * @returns 64 hex digits.
 */
export function hashHookConfig(adapter: AgentAdapter, plan: LaunchPlan): string {
  const neutral: HookWiring = {
    nodePath: '',
    client: { kind: 'twin', path: '' },
    socketPath: '',
    serverPid: 0,
    maxWaitMs: 0,
    mode: 'observe',
    environment: {},
  };
  return sha256(adapter.encodeSettings(plan, neutral));
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
