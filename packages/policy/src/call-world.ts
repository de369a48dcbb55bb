import type { CallPart, OpaqueCause } from './tool-call.ts';

/** What a call is about, told by the adapter of the agent, which alone knows the tools. */
export type CallAction =
  /** Text for a shell. `posix`: sh, bash, zsh and the like; anything else cannot be read. */
  | { readonly kind: 'shell'; readonly command: string; readonly shell: 'posix' | 'other' }
  | { readonly kind: 'file'; readonly path: string; readonly access: 'read' | 'write' }
  | { readonly kind: 'fetch'; readonly url: string }
  | { readonly kind: 'mcp'; readonly server: string; readonly tool: string };

/** What reading needs to know of the machine. Comes in as functions: this package does no I/O. */
export interface CallWorld {
  /** Directory that relative paths start from; null when the agent did not say. */
  readonly cwd: string | null;
  /** What `~` and `$HOME` stand for; null when unknown. */
  readonly home: string | null;
  /** Top of the project, links followed; null when there is none. */
  readonly projectRoot: string | null;
  /**
   * Follows links as far as the path exists. Never throws; a loop or a place that may not be read gives null, which makes the
   * part opaque.
   *
   * @param path Absolute, without `.` and `..`.
   */
  readonly realPath: (path: string) => string | null;
}

/** What was read of a call. */
export interface CallReading {
  /** The tool or MCP tool first. At most {@link maxParts}. */
  readonly parts: readonly CallPart[];
  readonly opaque: readonly OpaqueCause[];
}

/** Most parts of one call; with more it is opaque (`clipped`). */
export const maxParts = 64;
