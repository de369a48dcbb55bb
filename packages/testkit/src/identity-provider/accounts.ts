/** A person at the identity provider. */
export interface IdentityAccount {
  readonly sub: string;
  readonly email?: string;
  readonly emailVerified?: boolean;
  readonly name?: string;
  /** Left out: the claim is missing. */
  readonly groups?: readonly string[];
  /** Nobody logs in as a disabled account, and its refresh tokens are refused. */
  readonly disabled?: boolean;
}

/** The claims an account has, by scope of the same name. */
export function claimsOf(account: IdentityAccount): { sub: string; [claim: string]: unknown } {
  const { sub, email, emailVerified, name, groups } = account;
  return {
    sub,
    ...(email === undefined ? {} : { email, email_verified: emailVerified ?? true }),
    ...(name === undefined ? {} : { name }),
    ...(groups === undefined ? {} : { groups: [...groups] }),
  };
}
