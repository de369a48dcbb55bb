/** One line of `kontext doctor`. */
export interface CheckResult {
  readonly name: string;
  /** `warning`: works, but somebody should look. */
  readonly state: 'ok' | 'warning' | 'failed';
  /** What was found. */
  readonly detail: string;
  /** What to do; null when nothing is. */
  readonly next: string | null;
}

/** A check that passed. */
export const passed = (name: string, detail: string): CheckResult => ({
  ...{ name, detail },
  state: 'ok',
  next: null,
});

/** A check after which somebody should look. */
export const warned = (name: string, detail: string, next: string): CheckResult => ({
  ...{ name, detail, next },
  state: 'warning',
});

/** A check that found what keeps kontext from working. */
export const failed = (name: string, detail: string, next: string): CheckResult => ({
  ...{ name, detail, next },
  state: 'failed',
});
