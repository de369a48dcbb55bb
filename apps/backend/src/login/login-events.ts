/** What happened around a login; becomes an audit event on the organisation's admin stream. */
export interface LoginEvent {
  readonly kind: 'login.succeeded' | 'login.failed' | 'login.ended';
  readonly orgId: string;
  readonly userId: string;
  /** OAuth client, or `browser` for a login at our own pages. */
  readonly clientId: string;
  /** Machine name as the device stated it; null for a browser. */
  readonly machine: string | null;
  readonly address: string;
  /** Why a login failed, in words; null otherwise. */
  readonly reason: string | null;
}

/** Writes the audit event. It must not throw: it logs what it could not write. */
export type RecordLogin = (event: LoginEvent) => Promise<void>;
