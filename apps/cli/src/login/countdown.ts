import type { Context } from '../context.ts';

/**
 * Shows on the status line how long is left for what a person has to do in a browser.
 *
 * @param what For example `waiting for approval`.
 * @param endsAt Monotonic, as `performance.now()`.
 * @returns Removes it.
 */
export function startCountdown(
  { terminal }: Pick<Context, 'terminal'>,
  what: string,
  endsAt: number,
): () => void {
  const show = () => {
    const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    terminal.status(`${what}, ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`);
  };
  show();
  const timer = setInterval(show, 1000);
  return () => {
    clearInterval(timer);
    terminal.status(null);
  };
}
