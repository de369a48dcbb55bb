/**
 * The one place that writes to the terminal.
 *
 * Rules:
 * - standard output carries results, standard error everything said to a person, prefixed `kontext:`;
 * - each stream's terminal-ness is looked at alone;
 * - nobody is asked unless standard input and standard error are terminals and the configuration allows it;
 * - text that came from elsewhere cannot steer the terminal: control and bidi characters are made visible;
 * - a status line is drawn on a terminal only and is gone before anything else is written.
 */
import type { ReadStream } from 'node:tty';
import { formatError, KontextError } from '@kontext/errors';
import type { Config } from './config.ts';
import { Interrupted } from './interrupted.ts';

/** The streams a terminal is made of; those of the process, or a test's. */
export interface TerminalStreams {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** How commands talk to people and programs. */
export interface Terminal {
  /** Whether a person can be asked. */
  readonly interactive: boolean;
  readonly stdinIsTerminal: boolean;
  readonly stdoutIsTerminal: boolean;
  /** One line of result on standard output. */
  out(line: string): void;
  /** A value that a program asked for, as it is and with a line break after it: the one way a credential is shown. */
  value(text: string): void;
  /** Rows of result: aligned under a head on a terminal, else separated by tabs and without head. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  /** One JSON document on one line of standard output. */
  json(value: unknown): void;
  /** One line for a person on standard error; left out by `-q`. */
  note(line: string): void;
  /** As {@link Terminal.note}, but never left out: what a person has to act on. */
  say(line: string): void;
  /** As {@link Terminal.say}, marked as a warning. */
  warn(line: string): void;
  /** The three lines of an error. */
  error(error: unknown): void;
  /** Replaces the status line; null removes it. Shown on a terminal only. */
  status(text: string | null): void;
  /** Asks a question and returns the line typed, trimmed. @throws KontextError `KX_INPUT_NEEDED`, {@link Interrupted}. */
  ask(question: string, signal?: AbortSignal): Promise<string>;
  /** Asks for a secret; nothing typed is shown. @throws KontextError `KX_INPUT_NEEDED`, {@link Interrupted}. */
  askHidden(question: string): Promise<string>;
  /** Reads standard input to its end. @throws KontextError `KX_SECRET_INVALID` beyond `maxBytes`. */
  readStdin(maxBytes: number): Promise<Buffer>;
}

/** Makes control and bidi characters visible, tabs and newlines too, so that foreign text stays on its line. */
const printable = (text: string): string =>
  text.replace(/\p{Cc}|\p{Bidi_Control}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Makes the terminal of a command. */
export function createTerminal(
  config: Pick<Config, 'mayAsk' | 'color' | 'quiet'>,
  streams: TerminalStreams = process,
): Terminal {
  const { stdout, stderr } = streams;
  // Standard input is looked at when somebody wants to know: making its stream costs milliseconds.
  const isInteractive = () => config.mayAsk && stderr.isTTY === true && streams.stdin.isTTY === true;
  const colored = config.color ?? stderr.isTTY === true;
  const paint = (code: number, text: string) => (colored ? `\u001b[${code}m${text}\u001b[0m` : text);
  let hasStatus = false;
  const clearStatus = () => {
    if (hasStatus) stderr.write('\r\u001b[2K');
    hasStatus = false;
  };
  const say = (line: string) => {
    clearStatus();
    stderr.write(`${paint(2, 'kontext:')} ${printable(line)}\n`);
  };
  const requirePerson = (question: string) => {
    if (!isInteractive()) throw new KontextError('KX_INPUT_NEEDED', `no answer to: ${question}`);
    clearStatus();
  };
  return {
    get interactive() {
      return isInteractive();
    },
    get stdinIsTerminal() {
      return streams.stdin.isTTY === true;
    },
    stdoutIsTerminal: stdout.isTTY === true,
    out(line) {
      clearStatus();
      stdout.write(`${printable(line)}\n`);
    },
    value(text) {
      clearStatus();
      stdout.write(`${text}\n`);
    },
    table(head, rows) {
      clearStatus();
      for (const line of stdout.isTTY === true ? alignRows([head, ...rows]) : rows.map(joinTabs)) {
        stdout.write(`${line}\n`);
      }
    },
    json(value) {
      clearStatus();
      // What JSON leaves as it is but a terminal may act on is escaped; the document stays the same.
      stdout.write(`${printable(JSON.stringify(value))}\n`);
    },
    note(line) {
      if (!config.quiet) say(line);
    },
    say,
    warn: (line) => say(`warning: ${line}`),
    error(error) {
      clearStatus();
      stderr.write(`${formatError(error).replace(/^kontext: error:/, `kontext: ${paint(31, 'error:')}`)}\n`);
    },
    status(text) {
      clearStatus();
      if (text === null || stderr.isTTY !== true || config.quiet) return;
      stderr.write(printable(text));
      hasStatus = true;
    },
    ask(question, signal) {
      requirePerson(question);
      return askLine(streams, question, signal);
    },
    askHidden(question) {
      requirePerson(question);
      return readHidden(streams.stdin as ReadStream, stderr, question);
    },
    readStdin: (maxBytes) => readAll(streams.stdin, maxBytes),
  };
}

const joinTabs = (cells: readonly string[]): string => cells.map(printable).join('\t');

function alignRows(rows: readonly (readonly string[])[]): string[] {
  const shown = rows.map((cells) => cells.map(printable));
  const widths = (shown[0] ?? []).map((_, at) => Math.max(...shown.map((cells) => cells[at]?.length ?? 0)));
  return shown.map((cells) =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

async function askLine(streams: TerminalStreams, question: string, signal?: AbortSignal): Promise<string> {
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: streams.stdin, output: streams.stderr, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      const interrupt = () => reject(new Interrupted());
      lines.once('SIGINT', interrupt);
      lines.once('close', interrupt);
      signal?.addEventListener('abort', interrupt, { once: true });
      lines.question(`kontext: ${printable(question)} `, (answer) => resolve(answer.trim()));
    });
  } finally {
    lines.close();
  }
}

/** Reads a line in raw mode, so that the terminal echoes nothing. */
function readHidden(stdin: ReadStream, stderr: NodeJS.WritableStream, question: string): Promise<string> {
  stderr.write(`kontext: ${printable(question)} (not shown): `);
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    let typed = '';
    const finish = (settle: () => void) => {
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write('\n');
      settle();
    };
    const onData = (chunk: Buffer | string) => {
      for (const key of chunk.toString()) {
        if (key === '\r' || key === '\n' || key === '\u0004') return finish(() => resolve(typed));
        if (key === '\u0003') return finish(() => reject(new Interrupted()));
        typed = key === '\u007f' || key === '\b' ? typed.slice(0, -1) : typed + key;
      }
    };
    stdin.on('data', onData);
  });
}

async function readAll(stdin: NodeJS.ReadableStream, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > maxBytes) {
      throw new KontextError('KX_SECRET_INVALID', `standard input holds more than ${maxBytes} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/**
 * Ends private modes an agent may leave behind: mouse reporting, focus events, bracketed paste, application cursor
 * and keypad, kitty keyboard, modifyOtherKeys, alternate screen, colours; shows the cursor. The cursor is saved
 * before the alternate screen is left, because leaving it restores a saved position even when it was not on.
 */
export const terminalResetSequence = [
  '\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1004l\u001b[?1005l\u001b[?1006l\u001b[?1015l',
  '\u001b[?2004l\u001b[?2026l\u001b[?1l\u001b>\u001b[<u\u001b[>4;0m',
  '\u001b7\u001b[?1049l\u001b[?25h\u001b[0m',
].join('');

/** Puts a terminal back in order after an agent; does nothing when standard output is none. */
export function resetTerminalModes(): void {
  if (process.stdout.isTTY) process.stdout.write(terminalResetSequence);
}
