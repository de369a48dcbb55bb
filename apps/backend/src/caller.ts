/** The scope of our API: a token without it was never meant for it, whatever its audience. */
export const apiScope = 'kontext';

/** Whoever makes a request, as authenticated: what the work needs to know, and no token. */
export interface Caller {
  readonly userId: string;
  /** What the person is shown by. */
  readonly userName: string;
  readonly orgId: string;
  readonly role: string;
  /** OAuth grant of the login. */
  readonly grantId: string;
}

/** Roles that see every session and the audit log of their organisation; a member sees their own. */
const overseers: ReadonlySet<string> = new Set(['owner', 'admin', 'security', 'auditor']);

/** Whether the caller may see what others in the organisation did. An unknown role sees its own only. */
export const seesOrganisation = (caller: Pick<Caller, 'role'>): boolean => overseers.has(caller.role);
