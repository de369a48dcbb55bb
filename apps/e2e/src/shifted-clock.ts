/** A wall clock that a story moves, for programs that are started with it. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** See {@link createShiftedClock}. */
export interface ShiftedClock {
  /** Path of a script to be loaded first: `node --require <preload>`. */
  readonly preload: string;
  /** Moves the clock to so many milliseconds from the real one; programs that run see it within 20 ms. */
  set(offsetMs: number): void;
}

/** Makes a clock that is right until it is set. Timers and monotonic clocks are left alone. @param folder Where its files go. */
export function createShiftedClock(folder: string): ShiftedClock {
  const own = mkdtempSync(join(folder, 'clock-'));
  const [preload, offset] = [join(own, 'shift.cjs'), join(own, 'offset')];
  writeFileSync(preload, shiftClock(offset));
  return { preload, set: (offsetMs) => writeFileSync(offset, String(offsetMs)) };
}

/** The file is read again every 20 ms. */
const shiftClock = (file: string): string => `
const { readFileSync } = require('node:fs');
const RealDate = Date;
let offset = 0, readAt = 0;
function shift() {
  const now = RealDate.now();
  if (now - readAt > 20) { readAt = now; try { offset = Number(readFileSync(${JSON.stringify(file)}, 'utf8')) || 0; } catch { offset = 0; } }
  return offset;
}
globalThis.Date = class Date extends RealDate {
  constructor(...args) { if (args.length === 0) super(RealDate.now() + shift()); else super(...args); }
  static now() { return RealDate.now() + shift(); }
};
`;
