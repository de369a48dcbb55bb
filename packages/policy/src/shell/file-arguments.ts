import {
  bareUrlPrograms,
  familyOf,
  fileOperandPrograms,
  fileOperandsAfterFirst,
  firstOperandOptions,
  hostOperandPrograms,
  inputInterpreters,
  remotePathPrograms,
  shells,
  textPrograms,
} from './programs.ts';
import { unknownText } from './words.ts';

/** Texts longer than a path can be are none. */
const maxPathLength = 4096;

/** Devices that hold nothing: no file worth a rule. */
const plainDevice = /^\/dev\/(?:null|zero|full|u?random|tty|std(?:in|out|err)|fd\/\d+)$/;

/** Whether a path is a device that every command may use. */
export const isPlainDevice = (path: string): boolean => plainDevice.test(path);

/**
 * The arguments of a command that name files: those that look like paths, and every operand of a program known to take
 * files.
 */
export function fileArguments(program: string, args: readonly string[]): readonly string[] {
  if (textPrograms.has(program)) return [];
  const family = familyOf(program);
  if (shells.has(family) || inputInterpreters.has(family)) return interpreterFiles(args);
  const takesFiles = fileOperandPrograms.has(program) || fileOperandsAfterFirst.has(program);
  let skipOperands = operandsThatAreNoFiles(program, args);
  let onlyOperands = false;
  const paths: string[] = [];
  for (const arg of args) {
    if (arg === '--' && !onlyOperands) {
      onlyOperands = true;
    } else if (!onlyOperands && arg.startsWith('-') && arg.length > 1) {
      const value = optionValue(arg);
      if (value !== null && looksLikePath(value)) paths.push(value);
    } else if (skipOperands > 0) {
      skipOperands -= 1;
    } else {
      const path = operandPath(program, arg, takesFiles);
      if (path !== null) paths.push(path);
    }
  }
  return paths.filter((path) => path.length <= maxPathLength && !isPlainDevice(path));
}

const textOption = /^(?:-[A-Za-z0-9]*[ceEprm]|--(?:eval|print))$/;

/** The script of an interpreter, and what looks like a path among the arguments of that; a text it is given names nothing. */
function interpreterFiles(args: readonly string[]): readonly string[] {
  const at = args.findIndex((arg, index) => !arg.startsWith('-') && !textOption.test(args[index - 1] ?? ''));
  const hasText = args.some((arg) => textOption.test(arg));
  return args.filter((arg, index) => {
    if (arg.startsWith('-') || textOption.test(args[index - 1] ?? '') || isPlainDevice(arg)) return false;
    return arg.length <= maxPathLength && ((index === at && !hasText) || looksLikePath(arg));
  });
}

function operandsThatAreNoFiles(program: string, args: readonly string[]): number {
  if (fileOperandsAfterFirst.has(program)) {
    const given = args.some((arg) =>
      firstOperandOptions.has(arg.startsWith('--') ? (arg.split('=')[0] ?? '') : arg),
    );
    return given ? 0 : 1;
  }
  return hostOperandPrograms.has(program) ? 1 : 0;
}

/** `/x` of `--file=/x`, `-I/x` and `-d@/x`. */
function optionValue(arg: string): string | null {
  if (arg.startsWith('--')) {
    const equals = arg.indexOf('=');
    return equals < 0 ? null : afterMark(arg.slice(equals + 1));
  }
  const equals = arg.indexOf('=');
  if (equals > 0) return afterMark(arg.slice(equals + 1));
  return afterMark(arg.slice(2));
}

/** `@file` is how curl and others are told to read one. */
const afterMark = (text: string): string => (text.startsWith('@') ? text.slice(1) : text);

function operandPath(program: string, arg: string, takesFiles: boolean): string | null {
  if (arg === '' || arg === '-' || arg.includes('\n')) return null;
  const url = /^([a-z][a-z0-9+.-]*):\/\//i.exec(arg);
  if (url !== null) return url[1]?.toLowerCase() === 'file' ? pathOfFileUrl(arg) : null;
  if (remotePathPrograms.has(program) && /^[^/]+:/.test(arg)) return null;
  if (bareUrlPrograms.has(program) && !/^[@./~]|=@/.test(arg)) return null;
  const assigned = /^[A-Za-z_][\w.-]*=@?(.+)$/s.exec(arg)?.[1];
  if (assigned !== undefined && !arg.startsWith('.')) {
    return looksLikePath(assigned) || program === 'dd' ? assigned : null;
  }
  if (arg.startsWith('@') && looksLikePath(arg.slice(1))) return arg.slice(1);
  if (takesFiles) return arg;
  return looksLikePath(arg) ? arg : null;
}

const looksLikePath = (text: string): boolean =>
  (text.includes('/') || /^[~.]/.test(text)) &&
  !/^[a-z][a-z0-9+.-]*:\/\//i.test(text) &&
  text !== unknownText;

function pathOfFileUrl(text: string): string {
  const rest = text.replace(/^file:\/\/(?:localhost)?/i, '');
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}
