import type { CallPart } from './tool-call.ts';

const maxLength = 300;

/** A part in words, one line, at most 300 code units: `command git push --force`. Agent-supplied text: not to be trusted. */
export function describePart(part: CallPart): string {
  return wordsOf(part)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, maxLength);
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
