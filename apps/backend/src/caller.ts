import type { ActClaim } from '@kontext/oauth';

/** The scope of our API: a token without it was never meant for it, whatever its audience. */
export const apiScope = 'kontext';

/** An agent that acts for a person by a delegation token of ours (RFC 8693 §4.1). */
export interface Delegation {
  /** Lease of the token: what is exchanged with it hangs below. */
  readonly leaseId: string;
  readonly sessionId: string;
  /** What it may resolve, see `packages/oauth` `delegation.ts`. */
  readonly scopes: readonly string[];
  /** Who acts, outermost first; only the outermost decides anything. */
  readonly act: ActClaim;
  readonly txn: string;
  readonly expiresAtMs: number;
}

/** Whoever makes a request, as authenticated: what the work needs to know, and no token. */
export interface Caller {
  readonly userId: string;
  /** What the person is shown by. */
  readonly userName: string;
  readonly orgId: string;
  readonly role: string;
  /** OAuth grant of the login. */
  readonly grantId: string;
  /** When the person behind the login was last at the browser; null or left out when nobody knows. */
  readonly authAt?: Date | null;
  /** Set when an agent acts; null or left out for a person's own token. */
  readonly delegation?: Delegation | null;
}

/** Roles that see every session and the audit log of their organisation; a member sees their own. */
const overseers: ReadonlySet<string> = new Set(['owner', 'admin', 'security', 'auditor']);

/** Whether the caller may see what others in the organisation did. An unknown role sees its own only. */
export const seesOrganisation = (caller: Pick<Caller, 'role'>): boolean => overseers.has(caller.role);
