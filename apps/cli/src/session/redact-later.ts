import { createRedactor, type Redactor, type Secret } from '@kontext/redaction';

/** Values searched for, the newest of a session; a day of tokens that live for a minute each. */
const maxSecrets = 2000;

/**
 * A redactor whose secrets are known later: they are resolved while the hooks are opened, and renewed while the agent runs.
 * Indexing them takes milliseconds, for which the first hook can wait and the agent's start need not.
 */
export function redactLater() {
  let secrets: readonly Secret[] | undefined;
  let made: Redactor | undefined;
  const make = (): Redactor => {
    if (secrets === undefined) throw new Error('a hook came before the secrets were known');
    made ??= createRedactor(secrets);
    return made;
  };
  return {
    redactText: (text: string) => make().redactText(text),
    redactJson: (value: unknown) => make().redactJson(value),
    /** Adds values; what is searched from now on is searched for them too. */
    hide(known: readonly Secret[]): void {
      const wasMade = made !== undefined;
      secrets = [...(secrets ?? []), ...known].slice(-maxSecrets);
      made = undefined;
      if (wasMade) make();
    },
    warmUp(): void {
      make();
    },
  };
}
