import { CleanTexts } from './clean-texts.ts';
import { clipUtf8 } from './clip-utf8.ts';
import { BUDGET_MS, MAX_PAYLOAD_BYTES } from './limits.ts';
import { type OmissionReason, PayloadRun, type PlainNames } from './payload-run.ts';
import { isSurelyClean } from './quick-check.ts';
import type { Secret } from './secret.ts';
import { SecretIndex } from './secret-index.ts';

/** The redaction level an event header names for what this redactor made: exact values, sensitive keys and patterns. */
export const fullRedaction = 'full-v1';

/** What was done to something that may be kept. */
export interface RedactionFacts {
  readonly kind: 'redacted';
  /** Places that were replaced, over all passes. */
  readonly hits: number;
  /** Names of the rules that found something, sorted: those of the table in `pattern-set.ts`, and `key`. */
  readonly rules: readonly string[];
  /** What it cost, in characters looked at. */
  readonly work: number;
}

/** Nothing of the input may be used. */
export interface OmittedPayload {
  readonly kind: 'omitted';
  readonly reason: OmissionReason;
}

/** A payload as it may be stored. */
export interface StoredPayload extends RedactionFacts {
  /** At most the cap in UTF-8 bytes. */
  readonly text: string;
  /** Bytes of the whole payload before redaction and cut, in UTF-8. */
  readonly trueBytes: number;
  /** Whether it was cut; then JSON is no longer JSON. */
  readonly clipped: boolean;
}

/** Answer to the question whether a stored payload still shows a secret. */
export type PayloadCheck =
  | { readonly kind: 'clean' }
  | { readonly kind: 'found'; readonly rules: readonly string[] }
  | OmittedPayload;

/** Removes known secrets and what looks like one. Linear in the length of its input; its own results stay as they are. */
export interface PayloadRedactor {
  /** Redacts a text of any length. */
  redactText(text: string): (RedactionFacts & { readonly text: string }) | OmittedPayload;
  /**
   * Redacts a value as JSON.parse gives it, its keys too, and everything below a sensitive key. Values nested deeper than
   * 64 are omitted. Bigints come back as text.
   */
  redactJson(value: unknown): (RedactionFacts & { readonly value: unknown }) | OmittedPayload;
  /** Redacts a value, writes it as JSON (a string as it is) and cuts it at the cap, between two characters. */
  redactPayload(value: unknown): StoredPayload | OmittedPayload;
  /** Looks for secrets in a stored payload without changing it. */
  checkPayload(text: string): PayloadCheck;
}

/** What a payload redactor works with. */
export interface PayloadRedactorOptions {
  /** The secrets of the session, found in every form {@link createRedactor} finds; none is fine. */
  readonly secrets: readonly Secret[];
  /**
   * A clock that never goes back, in milliseconds: `performance.now`, or the processor time of this process where a busy
   * machine should cost no payload.
   */
  readonly nowMs: () => number;
  /** Time for up to 65,536 characters; a longer input has more in proportion. Default 50, sensible 10 to 1,000. */
  readonly budgetMs?: number;
  /** UTF-8 bytes of a stored payload. Default 64,000. */
  readonly maxBytes?: number;
  /** Members whose names sound like those of secrets and are not. Their texts are searched all the same. Default none. */
  readonly plainNames?: PlainNames;
}

/** Characters redacted beyond the cap, so that no secret is half seen at the cut; longer ones are found in part. */
const MARGIN = 4096;

/**
 * Makes a redactor for payloads that are stored or sent: exact values, sensitive keys and the patterns of
 * `pattern-set.ts`.
 *
 * Past the budget an input is omitted, never given raw. An agent that encrypts a secret or computes with it is not noticed.
 */
export function createPayloadRedactor(options: PayloadRedactorOptions): PayloadRedactor {
  const index = new SecretIndex(options.secrets);
  const maxBytes = options.maxBytes ?? MAX_PAYLOAD_BYTES;
  const plain = options.plainNames;
  const clean = new CleanTexts();
  const newRun = () => new PayloadRun(index, clean, options.nowMs, options.budgetMs ?? BUDGET_MS);
  return {
    redactText(text) {
      const run = newRun();
      const redacted = run.redactString(text);
      return run.reason === null ? { ...factsOf(run), text: redacted } : omitted(run.reason);
    },
    redactJson(value) {
      const run = newRun();
      const redacted = run.redactTree(value, plain);
      return run.reason === null ? { ...factsOf(run), value: redacted } : omitted(run.reason);
    },
    redactPayload: (value) => redactPayload(newRun(), value, { maxBytes, plain }),
    checkPayload: (text) =>
      index.isEmpty && isSurelyClean(text) ? { kind: 'clean' } : checkPayload(newRun(), text, plain),
  };
}

const factsOf = (run: PayloadRun): RedactionFacts => ({
  kind: 'redacted',
  hits: run.hits,
  rules: [...run.found].sort(),
  work: run.work,
});

const omitted = (reason: OmissionReason): OmittedPayload => ({ kind: 'omitted', reason });

/** How a payload is written. */
interface Form {
  readonly maxBytes: number;
  readonly plain: PlainNames | undefined;
}

function redactPayload(
  run: PayloadRun,
  value: unknown,
  { maxBytes, plain }: Form,
): StoredPayload | OmittedPayload {
  const redacted =
    typeof value === 'string' ? redactStart(run, value, { maxBytes, plain }) : redactTree(run, value, plain);
  if (redacted === null || run.reason !== null) return omitted(run.reason ?? 'value');
  const text = settle(run, redacted.text, maxBytes, redacted.isCut);
  if (text === null || run.reason !== null) return omitted(run.reason ?? 'work');
  const clipped = redacted.isCut || text.length < redacted.text.length;
  return { ...factsOf(run), text, trueBytes: redacted.trueBytes, clipped };
}

/** A payload before its cut. */
interface Uncut {
  readonly text: string;
  readonly trueBytes: number;
  /** Whether it lacks the end already. */
  readonly isCut: boolean;
}

/** Only the start of a long text is looked at; what may be half a secret at its end is dropped. */
function redactStart(run: PayloadRun, text: string, { maxBytes, plain }: Form): Uncut {
  const start = clipUtf8(text, maxBytes + MARGIN);
  const isCut = start.length < text.length;
  const redacted = run.redactString(start);
  const kept = isCut ? clipUtf8(redacted, Math.max(0, Buffer.byteLength(redacted) - MARGIN)) : redacted;
  return { text: isCut ? kept : redactParsed(run, kept, plain), trueBytes: Buffer.byteLength(text), isCut };
}

/** A text that is JSON is searched as JSON too, because that is how it will be checked. */
function redactParsed(run: PayloadRun, text: string, plain: PlainNames | undefined): string {
  const parsed = parseJson(text);
  if (typeof parsed !== 'object') return text;
  const before = run.hits;
  const redacted = run.redactTree(parsed, plain);
  return run.hits === before ? text : JSON.stringify(redacted);
}

function redactTree(run: PayloadRun, value: unknown, plain: PlainNames | undefined): Uncut | null {
  const redacted = run.redactTree(value, plain);
  if (run.reason !== null) return null;
  const text = JSON.stringify(redacted) ?? 'null';
  // Where nothing was found, both are written alike.
  const written = run.hits === 0 ? text : (stringify(value) ?? text);
  return { text, trueBytes: Buffer.byteLength(written), isCut: false };
}

/** Length only; a bigint counts as text. */
const stringify = (value: unknown): string | undefined =>
  JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item));

/** Cuts at the cap. What is cut is another text, and is searched again; null when that finds no end. */
function settle(run: PayloadRun, text: string, maxBytes: number, isCut: boolean): string | null {
  let current = clipUtf8(text, maxBytes);
  if (!isCut && current.length === text.length) return current;
  for (let round = 0; round < 4; round += 1) {
    const next = clipUtf8(run.redactString(current), maxBytes);
    if (next === current) return current;
    current = next;
  }
  return null;
}

/**
 * A whole JSON text is checked as it was redacted, value by value. One that is not spelled as it would be written may hold
 * more than its value, such as the first of two members of one name, and is searched as it stands, too.
 */
function checkPayload(run: PayloadRun, text: string, plain: PlainNames | undefined): PayloadCheck {
  const parsed = parseJson(text);
  const isValue = typeof parsed === 'object';
  if (isValue) run.redactValue(parsed, 0, null, plain);
  if (!isValue || (run.reason === null && JSON.stringify(parsed) !== text)) run.redactString(text);
  if (run.reason !== null) return omitted(run.reason);
  return run.hits === 0 ? { kind: 'clean' } : { kind: 'found', rules: factsOf(run).rules };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
