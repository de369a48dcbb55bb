const shown = '[secret]';

/**
 * A credential in memory that cannot be shown by accident.
 *
 * Inspecting, serialising, concatenating or logging it gives `[secret]`; {@link Secret.reveal} is the one
 * greppable way out. The value is an immutable string, so it cannot be zeroed: hold it no longer than needed.
 */
export class Secret {
  readonly #value: string;

  /** @param value The secret text, of any length; an empty one is never searched for by the redactor. */
  constructor(value: string) {
    this.#value = value;
  }

  /** The secret text. Call it at the last step only: the child's environment, the request that needs it. */
  reveal(): string {
    return this.#value;
  }

  /** Length in UTF-16 code units. */
  get length(): number {
    return this.#value.length;
  }

  /** Always `[secret]`. */
  toString(): string {
    return shown;
  }

  /** Always `[secret]`. */
  toJSON(): string {
    return shown;
  }

  /** What `util.inspect`, and so every logger and assertion, prints. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return shown;
  }
}
