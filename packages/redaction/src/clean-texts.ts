/** Longest text that is remembered from one payload to the next, in UTF-16 code units. */
export const MAX_REMEMBERED = 64;
/** Most of them. */
const MAX_COUNT = 4096;

/**
 * Short texts in which nothing was found: names of members, tools, ids of a session. They come with every payload; what was
 * found to hold a secret is not kept.
 */
export class CleanTexts {
  readonly #works = new Map<string, number>();

  /** What it cost to find nothing; undefined when it was not looked at, or is forgotten. */
  workOf(text: string): number | undefined {
    return text.length <= MAX_REMEMBERED ? this.#works.get(text) : undefined;
  }

  /** @param work Characters looked at, so that the count is the same whether it was remembered or not. */
  add(text: string, work: number): void {
    if (text.length > MAX_REMEMBERED) return;
    if (this.#works.size >= MAX_COUNT) this.#works.clear();
    this.#works.set(text, work);
  }
}
