/**
 * Members of our own payloads whose names sound like those of secrets and are not: `call.credentials` names the providers
 * whose credentials a session holds. For `plainNames` of packages/redaction, on both sides.
 */
export const plainPayloadNames = { call: { credentials: true } } as const;
