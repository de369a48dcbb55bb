import { MAX_DEPTH, MAX_PASSES, MAX_WORK } from './limits.ts';
import type { Secret } from './secret.ts';
import { SecretIndex } from './secret-index.ts';
import { uniqueName } from './unique-name.ts';

/** What became of a text. */
export interface RedactedText {
  /** The text with every found copy replaced by `[redacted]`; empty when `omitted`. */
  readonly text: string;
  /** Places that were replaced. */
  readonly hits: number;
  /** True when the budget did not suffice: nothing of the input may be used. */
  readonly omitted: boolean;
  /** What it cost, in characters looked at. */
  readonly work: number;
}

/** What became of a JSON value. */
export interface RedactedJson {
  /** A copy with every string, key and number redacted; null when `omitted`. */
  readonly value: unknown;
  /** Places that were replaced. */
  readonly hits: number;
  /** True when the budget did not suffice or the value is too deep: nothing of the input may be used. */
  readonly omitted: boolean;
  /** What it cost, in characters looked at. */
  readonly work: number;
}

/** Removes the secrets it was made with. Deterministic, and linear in the length of its input. */
export interface Redactor {
  /** Redacts a text; redacting the result again changes nothing. */
  redactText(text: string): RedactedText;
  /**
   * Redacts a value as JSON.parse gives it. Keys are redacted too; those that become equal are numbered.
   * Values nested deeper than 64 are omitted as a whole.
   */
  redactJson(value: unknown): RedactedJson;
}

/** Limits of one call. */
export interface RedactorOptions {
  /**
   * Characters that may be looked at, over all views and passes; counted rather than timed, so that the result is
   * the same everywhere. Default 100,000,000, about half a second; 64 KiB of text need some 1,500,000.
   */
  readonly maxWork?: number;
}

/**
 * Makes a redactor for the exact values of a session's secrets.
 *
 * Found are the forms listed at {@link secretForms}, also wrapped, split, spaced, escaped once, or in part (12 characters
 * or more). Secrets under 8 characters match as whole words only; empty ones not at all. An agent that encrypts a
 * secret or computes with it is not noticed.
 */
export function createRedactor(secrets: readonly Secret[], options: RedactorOptions = {}): Redactor {
  const index = new SecretIndex(secrets);
  const maxWork = options.maxWork ?? MAX_WORK;
  return {
    redactText(text) {
      const run = new RedactionRun(index, maxWork);
      const redacted = run.redactString(text);
      return run.isOver ? { text: '', ...run.omitted() } : { text: redacted, ...run.done() };
    },
    redactJson(value) {
      const run = new RedactionRun(index, maxWork);
      const redacted = run.redactValue(value, 0);
      return run.isOver ? { value: null, ...run.omitted() } : { value: redacted, ...run.done() };
    },
  };
}

/** One call: counts hits and work over all strings. Once over its budget it does nothing more. */
class RedactionRun {
  readonly #index: SecretIndex;
  readonly #minLength: number;
  readonly #maxWork: number;
  #hits = 0;
  #work = 0;
  isOver = false;

  constructor(index: SecretIndex, maxWork: number) {
    this.#index = index;
    this.#minLength = index.minLength;
    this.#maxWork = maxWork;
  }

  done() {
    return { hits: this.#hits, omitted: false, work: this.#work };
  }

  omitted() {
    return { hits: 0, omitted: true, work: this.#work };
  }

  redactString(text: string): string {
    if (text.length < this.#minLength) return text;
    let current = text;
    for (let pass = 0; pass < MAX_PASSES && this.#mayLookAt(current.length); pass += 1) {
      const { text: next, hits, work } = this.#index.redactOnce(current);
      this.#work += work;
      this.#hits += hits;
      if (hits === 0) return current;
      current = next;
    }
    this.isOver = true;
    return '';
  }

  redactValue(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.redactString(value);
    if (typeof value === 'number' || typeof value === 'bigint') return this.#redactNumber(value);
    if (typeof value !== 'object' || value === null) return value;
    if (depth >= MAX_DEPTH) this.isOver = true;
    if (this.isOver) return null;
    if (Array.isArray(value)) return value.map((item) => this.redactValue(item, depth + 1));
    return this.#redactObject(value, depth);
  }

  /** A secret of digits may come as a number. */
  #redactNumber(value: number | bigint): unknown {
    const text = String(value);
    const redacted = this.redactString(text);
    return redacted === text ? value : redacted;
  }

  #redactObject(value: object, depth: number): unknown {
    const counts = new Map<string, number>();
    const entries = Object.entries(value).map(([key, item]) => {
      const name = uniqueName(this.redactString(key), counts);
      return [name, this.redactValue(item, depth + 1)] as const;
    });
    // Defines own properties, so a key `__proto__` stays an ordinary key.
    return Object.fromEntries(entries);
  }

  /** Refuses before looking: the least a pass costs is its length. */
  #mayLookAt(length: number): boolean {
    return !this.isOver && this.#work + length <= this.#maxWork;
  }
}
