import type { CallPart } from './tool-call.ts';

const maxLength = 300;

/**
 * A part in words, one line, at most 300 code units: `command git push --force`. Agent-supplied text: not to be trusted.
 *
 * What is cut ends with a whole word and `…`: of a secret that is cut in two, nobody could tell afterwards that it is one.
 */
export function describePart(part: CallPart): string {
  const words = wordsOf(part);
  const shown = oneLine(words.slice(0, maxLength * 2), maxLength + 1);
  if (words.length <= maxLength * 2 && shown.length <= maxLength) return shown;
  const kept = shown.slice(0, maxLength - 1);
  return `${kept.slice(0, Math.max(kept.lastIndexOf(' '), 0))} …`;
}

/**
 * Makes a text harmless to show and to store: one line, valid Unicode, bounded.
 *
 * Control characters and invisible ones (direction marks, zero-width) could make it read as something else; a lone
 * surrogate is nothing a database takes.
 */
export function oneLine(text: string, limit: number): string {
  const shown = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return shown.slice(0, limit).replaceAll(/\p{Surrogate}/gu, '\ufffd');
}

function wordsOf(part: CallPart): string {
  switch (part.kind) {
    case 'tool':
      return `tool ${part.name}`;
    case 'mcp':
      return `MCP tool ${part.server}/${part.tool}`;
    case 'command':
      return `command ${[part.path, ...part.args].join(' ')}`;
    case 'file':
      return `${part.access === 'argument' ? 'file' : part.access} ${part.path}`;
    case 'host':
      return `host ${part.name}`;
  }
}
