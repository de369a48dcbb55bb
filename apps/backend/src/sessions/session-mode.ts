/** Whether a deny is carried out. */
export type Mode = 'observe' | 'enforce';

/** The stricter of what the organisation set and what was asked for: a machine may only tighten. */
export const raiseMode = (organisation: Mode, asked: Mode | null): Mode =>
  organisation === 'enforce' || asked === 'enforce' ? 'enforce' : 'observe';
