/** Whether a deny is carried out. */
export type Mode = 'observe' | 'enforce';

/** The stricter of what was published for the user and what was asked for: a machine may only tighten. */
export const raiseMode = (published: Mode, asked: Mode | null): Mode =>
  published === 'enforce' || asked === 'enforce' ? 'enforce' : 'observe';
