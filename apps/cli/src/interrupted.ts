/** A person or the system broke the command off; shown without words. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** 128 + number of the signal. */
  readonly exitCode: number;

  constructor(exitCode = 130) {
    super('interrupted');
    this.exitCode = exitCode;
  }
}
