import type { ErrorCode } from '@kontext/errors';

/** A parsed `.env.kontext`: what will be set, and what was wrong with the rest. */
export interface EnvTemplate {
  /** One per variable, in the order of the lines that won. */
  readonly entries: readonly Entry[];
  /** In the order of the file. A line with an `error` sets nothing; its neighbours are not affected. */
  readonly problems: readonly TemplateProblem[];
}

/** One variable: `NAME=value`. */
export interface Entry {
  /** `[A-Za-z_][A-Za-z0-9_]*` */
  readonly name: string;
  /** Line of the name, from 1. */
  readonly line: number;
  /** Literal texts and placeholders, to be joined; empty for an empty value. */
  readonly parts: readonly (string | PlaceholderRef)[];
}

/** How the credential reaches the agent: as a value in its environment, or swapped in at egress (not built yet). */
export type Delivery = 'inject' | 'broker';

/** What a placeholder asks for. */
export interface Placeholder {
  /** `[a-z0-9][a-z0-9-]*`, at most 63 bytes. */
  readonly provider: string;
  /** Connection name or provider-specific resource; empty when none is named. */
  readonly resource: string;
  /** Scopes in the order written, each once; empty when none are asked for. */
  readonly scopes: readonly string[];
  /** `inject` when not written. */
  readonly delivery: Delivery;
  /** Canonical spelling: two placeholders with one key are the same request. */
  readonly key: string;
}

/** A placeholder and where it stands. */
export interface PlaceholderRef extends Placeholder {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units; a byte order mark is not counted. */
  readonly column: number;
}

/** Something wrong with one line. The message holds no value of the template. */
export interface TemplateProblem {
  readonly code: ErrorCode;
  readonly message: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units; a byte order mark is not counted. */
  readonly column: number;
  /** An `error` means that the line sets nothing. */
  readonly severity: 'error' | 'warning';
  /** The variable, where the line names one. */
  readonly name?: string;
}

/** Limits of a template; beyond them `KX_TEMPLATE_TOO_LARGE` is thrown. */
export const templateLimits = {
  fileBytes: 1024 * 1024,
  /** Lines that are neither blank nor comments. */
  entries: 10_000,
  /** Also what one ResolveCredentials request may carry. */
  placeholders: 10_000,
  valueBytes: 64 * 1024,
} as const;
