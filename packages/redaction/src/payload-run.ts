import { type CleanTexts, MAX_REMEMBERED } from './clean-texts.ts';
import { isQuotedSecret } from './judge-value.ts';
import { BUDGET_UNIT, MAX_DEPTH, MAX_PASSES, MAX_WORK } from './limits.ts';
import { markPatterns } from './pattern-set.ts';
import { replaceMarked } from './replace-marked.ts';
import type { SecretIndex } from './secret-index.ts';
import { type NameStrength, nameStrength } from './sensitive-names.ts';
import { mapTexts, TakenValues } from './taken-values.ts';
import { REPLACEMENT, type TextView, viewsOf } from './text-view.ts';
import { uniqueName } from './unique-name.ts';
import { emptyMask } from './view-buffers.ts';

/**
 * Why a payload was left out: it took too long, it needed too much work or never settled, it was nested too deep, or it
 * was no JSON.
 */
export type OmissionReason = 'budget' | 'work' | 'depth' | 'value';

/** Members, by path, whose names sound like those of secrets and are not: `{ call: { credentials: true } }`. */
export interface PlainNames {
  readonly [name: string]: PlainNames | true;
}

/** No rule finds anything in a shorter text. */
const MIN_PATTERN = 4;
/** Work between two looks at the clock: some tens of microseconds. */
const LOOK_EVERY = 2048;
/** Longest key that is judged; a longer one is no name. */
const MAX_KEY = 256;

/** One call of a payload redactor: counts hits and work over all strings. Once it has a reason it does nothing more. */
export class PayloadRun {
  hits = 0;
  work = 0;
  reason: OmissionReason | null = null;
  readonly found = new Set<string>();
  /** What was taken out, to be looked for in the rest of the same value. */
  readonly #taken = new TakenValues();
  /** Long texts that came out of a search, and in which another one finds nothing. */
  readonly #settled: string[] = [];
  /** The same, once a value is read again. */
  #isSettled: ReadonlySet<string> | null = null;
  readonly #index: SecretIndex;
  readonly #clean: CleanTexts;
  readonly #minLength: number;
  readonly #nowMs: () => number;
  readonly #budgetMs: number;
  readonly #startMs: number;
  #seen = 0;
  #nextLook = LOOK_EVERY;

  /** @param clean What earlier runs with the same index found nothing in. */
  constructor(index: SecretIndex, clean: CleanTexts, nowMs: () => number, budgetMs: number) {
    this.#index = index;
    this.#clean = clean;
    this.#minLength = Math.min(index.minLength, MIN_PATTERN);
    this.#nowMs = nowMs;
    this.#budgetMs = budgetMs;
    this.#startMs = nowMs();
  }

  /** Short texts come again and again, long ones where a value is read a second time. */
  #isKnown(text: string): boolean {
    if (text.length > MAX_REMEMBERED) return this.#isSettled?.has(text) ?? false;
    const known = this.#clean.workOf(text);
    this.work += known ?? 0;
    return known !== undefined;
  }

  /** Redacts a text until nothing more is found; empty once there is a reason to omit. */
  redactString(text: string): string {
    if (this.reason !== null) return '';
    this.#seen += text.length;
    if (text.length < this.#minLength || this.#isKnown(text)) return text;
    const before = this.work;
    let current = text;
    for (let pass = 0; pass < MAX_PASSES; pass += 1) {
      const next = this.#redactOnce(current);
      if (this.reason !== null) return '';
      if (next === current) {
        if (current === text) this.#clean.add(text, this.work - before);
        if (this.#isSettled === null && current.length > MAX_REMEMBERED) this.#settled.push(current);
        return current;
      }
      current = next;
    }
    this.#stop('work');
    return '';
  }

  /**
   * Redacts a copy of a JSON value, whole. What a rule takes out in one place is taken out everywhere in the value: a
   * command says `--password hunter2x`, its list of words says `hunter2x` alone.
   *
   * @param plain Names that announce nothing where they stand.
   */
  redactTree(value: unknown, plain?: PlainNames): unknown {
    const redacted = this.redactValue(value, 0, null, plain);
    const taken = this.#taken.replacer();
    if (this.reason !== null || taken === null) return redacted;
    this.#isSettled = new Set(this.#settled);
    this.work += this.#taken.count * this.#seen;
    if (!this.#mayGoOn()) return null;
    // Read again, because what stands around a replacement may be read otherwise.
    return this.redactValue(mapTexts(redacted, taken), 0, null, plain);
  }

  /** Redacts a copy of a JSON value. */
  redactValue(value: unknown, depth: number, strength: NameStrength | null, plain?: PlainNames): unknown {
    if (typeof value === 'string') return this.#redactLeaf(value, strength);
    if (typeof value === 'number' || typeof value === 'bigint') return this.#redactNumber(value, strength);
    if (typeof value !== 'object' || value === null) return value;
    if (depth >= MAX_DEPTH) this.#stop('depth');
    this.work += 1;
    if (!this.#mayGoOn()) return null;
    if (Array.isArray(value)) return value.map((item) => this.redactValue(item, depth + 1, strength));
    return this.#redactObject(value, depth, strength, plain);
  }

  #redactOnce(text: string): string {
    const mask = emptyMask(text.length);
    for (const view of viewsOf(text)) {
      if (!this.#mayGoOn()) return '';
      this.work += this.#markExact(view, mask);
      if (!this.#mayGoOn()) return '';
      this.work += markPatterns(view, mask, this.found, this.#betweenStretches());
    }
    if (!this.#mayGoOn()) return '';
    const { text: next, hits } = replaceMarked(text, mask);
    this.hits += hits;
    if (hits > 0) this.#taken.addMarked(text, mask);
    return next;
  }

  /** What is searched now is counted at its end: from the second stretch on the clock alone says whether to go on. */
  #betweenStretches(): () => boolean {
    let stretches = 0;
    return () => {
      if (stretches > 0) this.#nextLook = this.work;
      stretches += 1;
      return this.#mayGoOn();
    };
  }

  #markExact(view: TextView, mask: Uint8Array): number {
    const { work, isFound } = this.#index.mark(view, mask);
    if (isFound) this.found.add('exact');
    return work;
  }

  #redactLeaf(text: string, strength: NameStrength | null): string {
    if (strength === null) return this.redactString(text);
    if (isQuotedSecret(text, strength)) return this.#replaceLeaf(text);
    // What a rule leaves of it may look like a secret where the whole did not.
    const redacted = this.redactString(text);
    return redacted !== text && isQuotedSecret(redacted, strength) ? this.#replaceLeaf(text) : redacted;
  }

  #redactNumber(value: number | bigint, strength: NameStrength | null): unknown {
    const text = String(value);
    if (strength === 'strong' && text.length >= 4) return this.#replaceLeaf(text);
    // No rule finds anything without letters that are no exponent; a secret of digits may come as a number.
    if (text.length < this.#index.minLength) return typeof value === 'number' ? value : text;
    const redacted = this.redactString(text);
    return redacted === text && typeof value === 'number' ? value : redacted;
  }

  #replaceLeaf(text: string): string {
    this.hits += 1;
    this.#taken.add(text);
    this.found.add('key');
    return REPLACEMENT;
  }

  #redactObject(
    value: object,
    depth: number,
    inherited: NameStrength | null,
    plain: PlainNames | undefined,
  ): unknown {
    const counts = new Map<string, number>();
    const entries = Object.entries(value).map(([key, item]) => {
      const shown = this.redactString(key);
      const own = shown.length > MAX_KEY ? null : nameStrength(shown);
      const paired = key.length === 5 && /^value$/i.test(key) ? strengthOfPair(value) : null;
      const known = plain !== undefined && Object.hasOwn(plain, key) ? plain[key] : undefined;
      const said = known === true ? null : (own ?? paired ?? inherited);
      const strength = said === null || isLabel(key, item) ? null : said;
      const below = known === true ? undefined : known;
      return [uniqueName(shown, counts), this.redactValue(item, depth + 1, strength, below)] as const;
    });
    // Defines own properties, so a key `__proto__` stays an ordinary key.
    return Object.fromEntries(entries);
  }

  /** Checks the count, which is the same everywhere, before the clock, which costs more than a short text. */
  #mayGoOn(): boolean {
    if (this.reason !== null) return false;
    if (this.work > MAX_WORK) this.#stop('work');
    if (this.work < this.#nextLook) return this.reason === null;
    this.#nextLook = this.work + LOOK_EVERY;
    const allowedMs = this.#budgetMs * Math.max(1, this.#seen / BUDGET_UNIT);
    // Written so that a clock that gives no number stops it too.
    if (!(this.#nowMs() - this.#startMs <= allowedMs)) this.#stop('budget');
    return this.reason === null;
  }

  #stop(reason: OmissionReason): void {
    this.reason ??= reason;
  }
}

/** `{ "name": "API_KEY", "value": "…" }`, as environments of containers and pipelines are written. */
function strengthOfPair(value: object): NameStrength | null {
  for (const [key, name] of Object.entries(value)) {
    if (/^(?:name|key)$/i.test(key) && typeof name === 'string' && name.length <= MAX_KEY)
      return nameStrength(name);
  }
  return null;
}

/** A label such as `"password": "Password"` says nothing. */
const isLabel = (key: string, item: unknown): boolean =>
  typeof item === 'string' && /^[\w -]{1,256}$/.test(item) && bareName(item) === bareName(key);

const bareName = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');
