import type { ApprovalRow } from '../store/queries/approvals.ts';
import type { ApprovalViewer } from '../store/queries/named-approvals.ts';

/** What of a question says who may decide it. */
export type Asked = Pick<ApprovalRow, 'userId' | 'approver' | 'fourEyes'>;

/**
 * Whether a person may decide a question.
 *
 * - A rule that names an approver: members of that group, and whoever has that role.
 * - A rule that names none: the session's own user.
 * - Four eyes: never the session's own user. A rule that wants them names an approver, else nobody can.
 *
 * `decidable` of `store/queries/named-approvals.ts` says the same to the database.
 */
export function mayDecide(
  { userId, approver, fourEyes }: Asked,
  viewer: Omit<ApprovalViewer, 'orgId'>,
): boolean {
  const isOwn = viewer.userId === userId;
  if (fourEyes && isOwn) return false;
  if (approver !== null) return viewer.role === approver || viewer.groups.includes(approver);
  return isOwn;
}
