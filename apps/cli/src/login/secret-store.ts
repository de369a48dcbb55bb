/** Where secrets of this machine's user are kept between runs: the OS keyring, or files when the user chose so. */
export interface SecretStore {
  readonly kind: 'keyring' | 'file';
  /** What to call it in front of a person. */
  readonly location: string;
  /** @returns The stored value, null when there is none. @throws KontextError `KX_KEYRING_UNAVAILABLE`. */
  get(account: string): Promise<string | null>;
  /** @throws KontextError `KX_KEYRING_UNAVAILABLE`. */
  set(account: string, value: string): Promise<void>;
  /** @returns Whether there was something to delete. @throws KontextError `KX_KEYRING_UNAVAILABLE`. */
  delete(account: string): Promise<boolean>;
  /** Writes, reads and deletes a value of its own. @throws KontextError `KX_KEYRING_UNAVAILABLE`. */
  probe(): Promise<void>;
}
