import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import type { KekProvider } from '../store/queries/keks.ts';
import { type KeyService, kekMissing } from './key-service.ts';

/** The keys of the key file at one moment. */
export interface FileKeys {
  readonly active: string;
  readonly keyIds: readonly string[];
  readonly service: KeyService;
}

/** What a keyring is made from. At least one of both is there. */
export interface KeyringParts {
  /** Reads the key file; null when it has not changed since the last call. Absent: there is no key file. */
  readonly readFile?: (() => FileKeys | null) | undefined;
  /** KEK id → the service that has it, in the order of the configuration. */
  readonly remote?: ReadonlyMap<string, KeyService>;
}

/**
 * The `Kms` of a running backend: several keys of several services, one of them active, and both can change meanwhile.
 *
 * A rotation reaches it in two ways: {@link Keyring.reload} sees new keys in the key file, {@link Keyring.activate} follows the
 * table `keks`. Unwrapping under a key it does not know reloads first, so that a secret another replica sealed a moment ago
 * opens.
 */
export interface Keyring extends Kms {
  /** What new secrets go under unless the table says otherwise: the first of the configuration, else the file's active key. */
  readonly preferred: { readonly kekId: string; readonly fromFile: boolean };
  /** Every key that can be used now. */
  readonly keyIds: readonly string[];
  /** Reads the key file again if it changed. A file that cannot be used changes nothing: the keys read before stay. */
  reload(): void;
  /**
   * Seals new secrets under this key from now on.
   *
   * @returns False when the key is not there, even after reading the key file again; nothing changes then.
   */
  activate(kekId: string): boolean;
  /** The service of a key, to try it before it is activated. @throws KontextError `KX_KEK_MISSING` */
  serviceOf(kekId: string): KeyService;
  /** Wraps made under each key since the last call. */
  takeUses(): ReadonlyMap<string, number>;
  /** Gives counts back that could not be stored. */
  returnUses(uses: ReadonlyMap<string, number>): void;
}

/**
 * Creates a keyring and reads the key file, if there is one.
 *
 * @throws KontextError `KX_KEK_MISSING` when the key file cannot be used, or there is no key at all.
 */
export function createKeyring({ readFile, remote = new Map() }: KeyringParts): Keyring {
  let file: FileKeys | null = null;
  let uses = new Map<string, number>();
  let activeKekId: string | null = null;
  const find = (kekId: string): KeyService | undefined =>
    file?.keyIds.includes(kekId) ? file.service : remote.get(kekId);
  const reload = (): void => {
    file = readFile?.() ?? file;
    // At the start; and when the operator took the active key out of the file.
    if (activeKekId === null || find(activeKekId) === undefined) activeKekId = preferred().kekId;
  };
  const findFresh = (kekId: string): KeyService => {
    if (find(kekId) === undefined) reload();
    const service = find(kekId);
    if (!service) throw kekMissing(kekId);
    return service;
  };
  const preferred = (): Keyring['preferred'] => {
    const [first] = remote.keys();
    if (first !== undefined) return { kekId: first, fromFile: false };
    if (file === null) throw noKey();
    return { kekId: file.active, fromFile: true };
  };
  const count = (kekId: string, made: number): void => void uses.set(kekId, (uses.get(kekId) ?? 0) + made);

  const active = (): string => activeKekId ?? preferred().kekId;

  reload();
  return {
    get activeKekId() {
      return active();
    },
    get preferred() {
      return preferred();
    },
    get keyIds() {
      return [...(file?.keyIds ?? []), ...remote.keys()];
    },
    // The vault binds a data key to the active KEK it read a moment ago: nothing may happen between that and `kekId`.
    wrap: async (dek, aad) => {
      const kekId = active();
      count(kekId, 1);
      return { kekId, wrapped: await findFresh(kekId).wrap(kekId, dek, aad) };
    },
    unwrap: async (kekId, wrapped, aad) => findFresh(kekId).unwrap(kekId, wrapped, aad),
    reload,
    activate: (kekId) => {
      if (find(kekId) === undefined) reload();
      if (find(kekId) === undefined) return false;
      activeKekId = kekId;
      return true;
    },
    serviceOf: findFresh,
    takeUses: () => {
      const taken = uses;
      uses = new Map();
      return taken;
    },
    returnUses: (returned) => {
      for (const [kekId, made] of returned) count(kekId, made);
    },
  };
}

const noKey = (): KontextError =>
  new KontextError('KX_KEK_MISSING', 'no key-encryption key is configured', {
    why: 'there is neither a key file nor a key of a key service',
    hint: 'set KONTEXT_KEK_FILE or KONTEXT_KMS_KEYS; docs/keys.md tells which',
  });

/** Where a key is kept, as its id tells. */
export function providerOf(kekId: string): KekProvider {
  const [prefix] = kekId.split(':', 1);
  return kekId.includes(':') && (prefix === 'aws' || prefix === 'gcp' || prefix === 'vault')
    ? prefix
    : 'local';
}
