/** What goes between the backend and its policy workers; both are of one build. */
import type { ErrorCode } from '@kontext/errors';
import type { Decision, Finding, Mode, PolicySet, PolicyText, SourceFile } from '@kontext/policy';

/** What a worker does, by name. */
export interface PolicyJobs {
  /** Parses and lints sources. */
  readonly check: {
    readonly input: { readonly files: readonly SourceFile[] };
    readonly output: CheckedSources;
  };
  /** Checks a whole set against the schema and keeps it for the jobs that follow. */
  readonly load: { readonly input: { readonly set: PolicySet }; readonly output: null };
  /** Decides one call with the loaded set. `call` is JSON of a `ToolCall`. */
  readonly decide: {
    readonly input: { readonly call: string; readonly mode: Mode };
    readonly output: DecidedCall;
  };
  /** Decides recorded calls with the loaded set. */
  readonly replay: {
    readonly input: { readonly payloads: readonly (string | null)[] };
    readonly output: readonly Redecided[];
  };
}

/** Name of a job. */
export type PolicyJob = keyof PolicyJobs;

/** Sources after they were looked at; the policies are complete only where no finding is an error. */
export interface CheckedSources {
  readonly findings: readonly Finding[];
  readonly policies: readonly PolicyText[];
}

/** A call and what is decided about it, or why it cannot be read. */
export type DecidedCall =
  | { readonly decision: Decision; readonly parts: readonly string[] }
  | { readonly notReproducible: string };

/** A recorded call decided again, or why it cannot be. */
export type Redecided =
  | {
      readonly effect: Decision['effect'];
      readonly rule: string | null;
      /** What was called, see `callShape`. */
      readonly shape: string;
    }
  | { readonly notReproducible: string };

/** A job for a worker. */
export interface JobRequest {
  readonly job: PolicyJob;
  readonly input: unknown;
}

/** What a worker answers: a value, or an error of ours. Anything else ends the worker. */
export type JobAnswer =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint: string;
      readonly details: Readonly<Record<string, string | number>>;
    };
