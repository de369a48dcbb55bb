/** Longest text of each free field in UTF-16 code units, and most leases; the writer of an event clips to them. */
export const headerLimits = {
  agent: 64,
  tool: 256,
  toolUse: 256,
  rule: 256,
  leases: 100,
  bytes: 16_384,
} as const;
