/** Levels of a JSON value; anything deeper is omitted as a whole. */
export const MAX_DEPTH = 64;

/** One pass finds, one confirms; more only where a replacement uncovers something at its border. */
export const MAX_PASSES = 8;

/** Characters one call may look at, over all views and passes; about half a second. */
export const MAX_WORK = 100_000_000;

/** Bytes of UTF-8 a stored payload may have. */
export const MAX_PAYLOAD_BYTES = 64_000;

/** Milliseconds a payload of up to {@link BUDGET_UNIT} characters may take; a longer one in proportion. */
export const BUDGET_MS = 50;

/** Characters the time budget is given for. */
export const BUDGET_UNIT = 65_536;
