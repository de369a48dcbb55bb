/**
 * What a payload can be kept as. Each class is a partition of `audit_payloads` (migrations/0001_roles.sql,
 * 0016_retention_classes.sql), which a test compares with this list.
 */
export const retentionClasses = [
  /** Until somebody erases them; what holds where nobody chose. */
  { name: 'standard', days: 0 },
  { name: 'days-30', days: 30 },
  { name: 'days-90', days: 90 },
  { name: 'days-365', days: 365 },
] as const;

/** A class an organisation can choose. `days`: how long payloads are kept in it; 0: until they are erased. */
export type RetentionClass = (typeof retentionClasses)[number];

/** Class of payloads where nobody chose another one, and always of the organisation's own stream. */
export const standardClass = 'standard';

/** Class of payloads that are held; nothing drops or erases these, and nobody can choose it. */
export const holdClass = 'hold';
