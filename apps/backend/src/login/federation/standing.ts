/**
 * Role and groups of a person after a login, and who has the last word:
 *
 * - Groups: what the provider's claim says replaces what stood there. Without the claim they stay, unless the provider's
 *   groups are mapped to roles: then a missing claim counts as no groups.
 * - Role: the strongest role that one of the groups is mapped to. Where none is, a role given by hand or by invitation stays;
 *   one that came from a mapped group before falls back to `member`.
 * - The last owner stays owner.
 */
import { type Role, roles } from '../../store/queries/local-accounts.ts';

/** What a member may do, and the groups that policies see. */
export interface Standing {
  readonly role: Role;
  readonly groups: readonly string[];
}

/** What decides. */
export interface StandingInput {
  readonly current: Standing;
  /** Of the provider's claim; null when it was missing. */
  readonly groups: readonly string[] | null;
  readonly groupRoles: Readonly<Record<string, Role>>;
  /** Whether there is no other owner. */
  readonly isLastOwner: boolean;
}

/** Decides by the rules on top of this file. Pure. */
export function decideStanding({ current, groups, groupRoles, isLastOwner }: StandingInput): Standing {
  const isMapped = Object.keys(groupRoles).length > 0;
  const next = groups ?? (isMapped ? [] : current.groups);
  const wanted = strongestRole(next, groupRoles) ?? roleWithoutMapping(current, groupRoles);
  return { role: isLastOwner && current.role === 'owner' ? 'owner' : wanted, groups: next };
}

/** The strongest role that one of the groups is mapped to; null when none is. */
export function strongestRole(
  groups: readonly string[],
  groupRoles: Readonly<Record<string, Role>>,
): Role | null {
  const mapped = new Set(
    groups.filter((group) => Object.hasOwn(groupRoles, group)).map((group) => groupRoles[group]),
  );
  return roles.find((role) => mapped.has(role)) ?? null;
}

function roleWithoutMapping(current: Standing, groupRoles: Readonly<Record<string, Role>>): Role {
  const before = strongestRole(current.groups, groupRoles);
  return before === current.role ? 'member' : current.role;
}

/** Reads a stored mapping; what is no role is passed over. */
export function parseGroupRoles(text: string): Readonly<Record<string, Role>> {
  const stored = JSON.parse(text) as Readonly<Record<string, string>>;
  const known = Object.entries(stored).flatMap(([group, name]) => {
    const role = roles.find((candidate) => candidate === name);
    return role === undefined ? [] : [[group, role] as const];
  });
  return Object.fromEntries(known);
}
