import { KontextError } from '@kontext/errors';
import { decodeTemplate } from './decode-template.ts';
import { type Entry, type EnvTemplate, type TemplateProblem, templateLimits } from './env-template.ts';
import { createLocator, type Location } from './locator.ts';
import { isRefusedName } from './refused-names.ts';
import { type RawValue, type ScannedLine, scanLines } from './scan-lines.ts';
import { splitValue } from './split-value.ts';

/**
 * Parses an env template (`.env.kontext`, design §4.1).
 *
 * Trouble with a line becomes a problem of the result; only what makes the file as a whole unusable is thrown.
 * Whether a provider exists, and whether broker delivery is available, is not checked here.
 *
 * @param bytes The file as read: UTF-8, with or without byte order mark, any line ends.
 * @throws KontextError `KX_TEMPLATE_TOO_LARGE` beyond {@link templateLimits}.
 * @throws KontextError `KX_TEMPLATE_NOT_UTF8` when the bytes are not UTF-8.
 * @throws KontextError `KX_TEMPLATE_SYNTAX` at a NUL byte.
 */
export function parseEnvTemplate(bytes: Uint8Array): EnvTemplate {
  const text = decodeTemplate(bytes);
  const parser = new TemplateParser(text);
  for (const line of scanLines(text)) parser.add(line);
  return parser.finish();
}

/** What is known of a name so far; without an entry, the last line of that name was wrong and nothing is set. */
interface Occurrence {
  readonly line: number;
  readonly entry: Entry | undefined;
}

class TemplateParser {
  readonly #text: string;
  readonly #locate: (offset: number) => Location;
  readonly #names = new Map<string, Occurrence>();
  readonly #problems: TemplateProblem[] = [];
  #lines = 0;
  #placeholders = 0;

  constructor(text: string) {
    this.#text = text;
    this.#locate = createLocator(text);
  }

  add(line: ScannedLine): void {
    const { at, name } = line;
    this.#lines += 1;
    if (this.#lines > templateLimits.entries) throw this.#tooLarge(at, 'has more than 10,000 entries');
    if (name === undefined) {
      if (line.kind === 'broken') this.#report('KX_TEMPLATE_SYNTAX', line.problemAt, line.reason);
      return;
    }
    if (isRefusedName(name)) {
      // Whatever the value: a placeholder there would redirect the agent just the same.
      this.#report('KX_TEMPLATE_REFUSED_NAME', at, `a template may not set ${name}`, name);
      return;
    }
    this.#setName(name, at, () => {
      if (line.kind === 'assignment') return this.#readParts(name, line.value);
      this.#report('KX_TEMPLATE_SYNTAX', line.problemAt, line.reason, name);
      return undefined;
    });
  }

  finish(): EnvTemplate {
    const entries = [...this.#names.values()].flatMap(({ entry }) => (entry ? [entry] : []));
    return { entries, problems: this.#problems };
  }

  /** The last line of a name wins, also when it is the broken one: an older value would surprise. */
  #setName(name: string, at: number, readParts: () => Entry['parts'] | undefined): void {
    const { line } = this.#locate(at);
    const earlier = this.#names.get(name);
    if (earlier) {
      const message = `${name} is set on line ${earlier.line} and again on line ${line}; line ${line} counts`;
      this.#report('KX_TEMPLATE_DUPLICATE', at, message, name, 'warning');
      this.#names.delete(name);
    }
    const parts = readParts();
    this.#names.set(name, { line, entry: parts && { name, line, parts } });
  }

  #readParts(name: string, value: RawValue): Entry['parts'] | undefined {
    if (Buffer.byteLength(this.#text.slice(value.start, value.end)) > templateLimits.valueBytes) {
      throw this.#tooLarge(value.start, 'has a value of more than 64 KiB');
    }
    const parts: Entry['parts'][number][] = [];
    let isWhole = true;
    for (const part of splitValue(this.#text, value)) {
      if (part.kind === 'literal') {
        parts.push(part.text);
        continue;
      }
      this.#placeholders += 1;
      if (this.#placeholders > templateLimits.placeholders) {
        throw this.#tooLarge(part.at, 'has more than 10,000 placeholders');
      }
      if (part.kind === 'placeholder') {
        parts.push({ ...part.placeholder, ...this.#locate(part.at) });
      } else {
        isWhole = false;
        const message = `the placeholder is malformed: ${part.reason}`;
        this.#report('KX_TEMPLATE_PLACEHOLDER', part.at, message, name);
      }
    }
    return isWhole ? parts : undefined;
  }

  #report(
    code: TemplateProblem['code'],
    at: number,
    message: string,
    name?: string,
    severity: TemplateProblem['severity'] = 'error',
  ): void {
    const problem = { code, message, ...this.#locate(at), severity };
    this.#problems.push(name === undefined ? problem : { ...problem, name });
  }

  #tooLarge(at: number, what: string): KontextError {
    const { line } = this.#locate(at);
    return new KontextError('KX_TEMPLATE_TOO_LARGE', `the env template ${what}`, {
      why: `the limit is passed on line ${line}`,
      details: { line },
    });
  }
}
