import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openNote, type PinnedLog, parseCheckpoint, parseVerifierKey } from '@kontext/audit';
import type { Context } from '../context.ts';
import { loadLogin } from '../login/load-login.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import { readStateFile } from '../state-file.ts';
import { readWitness } from './witness-state.ts';

/**
 * What this machine knows of logs, without asking anybody: keys that were pinned, and the newest checkpoints it has seen.
 *
 * A machine without a login, or whose keyring cannot be opened, may still have files; and the other way about.
 */
export async function readPinnedLogs({ config, terminal }: Context): Promise<PinnedLog[]> {
  const login = await loadLogin(config, openSecretStore(config, terminal)).catch(() => null);
  const loginKey = login?.logKey ?? '';
  const seen = listFiles(config.stateDir).flatMap((file) => readFile(file, config.stateDir, loginKey));
  return [...(loginKey === '' ? [] : [{ key: loginKey }]), ...seen];
}

function listFiles(stateDir: string): string[] {
  try {
    const names = readdirSync(stateDir).filter((name) => /^audit-witness-[0-9a-f]+\.json$/.test(name));
    return names.map((name) => join(stateDir, name));
  } catch {
    return [];
  }
}

/** The key of a file stands in it, or with the login that the file is of. */
function readFile(path: string, stateDir: string, loginKey: string): PinnedLog[] {
  const file = readStateFile(path);
  const [apiUrl, orgId] = [String(file?.apiUrl ?? ''), String(file?.org ?? '')];
  const { key, note } = readWitness({ apiUrl, orgId, stateDir });
  return [key, loginKey].flatMap((text) => {
    const verifier = parseVerifierKey(text);
    if (verifier === null) return [];
    const opened = note === '' ? null : openNote(note, [verifier]);
    const isSigned = opened !== null && opened.signedBy.length > 0;
    const checkpoint = isSigned ? parseCheckpoint(opened.text) : null;
    // Without a checkpoint of its own, only a key of the file itself says something.
    return checkpoint === null && text !== key ? [] : [{ key: text, checkpoint }];
  });
}
