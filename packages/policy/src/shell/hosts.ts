import {
  bareUrlPrograms,
  hostOperandPrograms,
  hostOptions,
  remotePathPrograms,
  valueOptions,
} from './programs.ts';
import { unknownText } from './words.ts';

/** A host and how it is talked to. */
export interface NamedHost {
  /** Lower case, without port, user and last dot; U+FFFD when only running tells, or when it is no host name. */
  readonly name: string;
  /** Lower case, without colon; empty when it is not said. */
  readonly scheme: string;
}

const unknownHost = (scheme: string): NamedHost => ({ name: unknownText, scheme });

/** Host of a URL; null when the text is none with a host. */
export function hostOfUrl(text: string): NamedHost | null {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([\s\S]*)$/i.exec(text);
  if (match === null) return null;
  const scheme = (match[1] ?? '').toLowerCase();
  const name = parseHost(match[2] ?? '');
  return name === '' ? null : { name: name ?? unknownText, scheme };
}

/** Parses by the rules for http, which normalise the most: other schemes leave case and escapes as they are. */
function parseHost(rest: string): string | null {
  try {
    const { hostname } = new URL(`http://${rest}`);
    return hostname.replace(/\.+$/, '').replace(/^\[(.*)\]$/, '$1');
  } catch {
    return /^(?:$|[/?#])/.test(rest) ? '' : null;
  }
}

/** The hosts that the arguments of a command name. */
export function hostArguments(program: string, args: readonly string[]): readonly NamedHost[] {
  const hosts: (NamedHost | null)[] = [];
  let operands = 0;
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    const isOption = arg.startsWith('-') && arg.length > 1;
    hosts.push(...hostsOfText(arg));
    if (isOption) {
      const named = hostOptions.get(program)?.has(arg.split('=')[0] ?? '') === true;
      if (named)
        hosts.push(bareHost(arg.includes('=') ? arg.slice(arg.indexOf('=') + 1) : (args[at + 1] ?? ''), ''));
      if (named || takesValue(program, arg)) at += arg.includes('=') ? 0 : 1;
      if (at < args.length && !named && takesValue(program, arg)) hosts.push(...hostsOfText(args[at] ?? ''));
      continue;
    }
    operands += 1;
    hosts.push(operandHost(program, arg, operands));
  }
  return hosts.filter((host) => host !== null);
}

const operandValueOptions: Readonly<Record<string, string>> = {
  ssh: 'BbcDEeFIiJLlmOopQRSWw',
  sftp: 'BbcDFiJloPRSsX',
  scp: 'cDFiJloPSX',
  rsync: 'efMTB',
  curl: 'AbcCdDeEFhHKmoPQrtTuUwxXyYz',
  wget: 'oaeitTwQPUlADRIXBO',
  nc: 'eiIMmOPpqsTVWwXx',
  ncat: 'ceiopsw',
  ping: 'cIiMmQSstTWw',
  dig: 'bcfkpqtxy',
};

const takesValue = (program: string, arg: string): boolean =>
  valueOptions.get(program)?.has(arg) === true ||
  (/^-[A-Za-z]+$/.test(arg) && operandValueOptions[program]?.includes(arg.at(-1) ?? '') === true);

/** URLs inside of a text: the whole, or behind the `=` of an option. */
function hostsOfText(arg: string): readonly NamedHost[] {
  const at = arg.search(/[a-z][a-z0-9+.-]*:\/\//i);
  if (at < 0 || arg.length > 8192) return [];
  const found: NamedHost[] = [];
  for (const [url] of arg.slice(at).matchAll(/[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]*/gi)) {
    const host = hostOfUrl(url);
    if (host !== null) found.push(host);
    if (found.length >= 16) break;
  }
  return found;
}

function operandHost(program: string, arg: string, operands: number): NamedHost | null {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(arg)) return null;
  if (bareUrlPrograms.has(program)) return bareUrlHost(program, arg);
  const scheme = hostOperandPrograms.get(program);
  if (scheme !== undefined && operands === 1) return bareHost(arg, scheme);
  if (!remotePathPrograms.has(program)) return null;
  // A name of one letter is a drive; git takes only what has a path behind the colon.
  const remote = /^(?:[^@/\s]+@)?(\[[^\]]+\]|[^/:@\s]{2,}):(?!:)/.exec(arg);
  if (remote?.[1] === undefined) return null;
  const isRef = program === 'git' && !arg.includes('@') && !/^[\w-]+(\.[\w-]+)+:[\w~]/.test(arg);
  return isRef ? null : bareHost(remote[1], 'ssh');
}

/** httpie begins with a method; curl and wget take a URL without a scheme. */
function bareUrlHost(program: string, arg: string): NamedHost | null {
  if (/^[A-Z]+$/.test(arg) || arg === '') return null;
  if (/^(?:[\w.@-]+=|[@./~])/.test(arg) && program !== 'curl') return null;
  const name = parseHost(arg);
  return {
    name: name === null || name === '' ? unknownText : name,
    scheme: program === 'https' ? 'https' : 'http',
  };
}

function bareHost(text: string, scheme: string): NamedHost | null {
  if (text === '') return null;
  const host = text.slice(text.lastIndexOf('@') + 1);
  const name = parseHost(
    host.includes(':') && !host.startsWith('[') && host.split(':').length > 2 ? `[${host}]` : host,
  );
  return name === null || name === '' ? unknownHost(scheme) : { name, scheme };
}
